import assert from 'node:assert/strict';
import http from 'node:http';
import { json } from 'node:stream/consumers';
import test from 'node:test';
import OpenAI from 'openai';
import { adminAPIKey, administrator, apiKey, baseURL, client, collect, gatehouse, newKey, organization, url } from './setup.mjs';

const openai = client();
const ask = { model: 'gpt-4o', messages: [{ role: 'user', content: 'Hi' }] };
const chat = (options, on = openai) => on.chat.completions.create(ask, options);

// fails checks that a promise rejects with one of the client's own error classes and what it says.
const fails = (promise, type, want) => assert.rejects(promise, (err) => {
  assert.ok(err instanceof type, `${err.constructor.name}: ${err.message}`);
  for (const [name, value] of Object.entries(want)) {
    if (value instanceof RegExp) assert.match(err[name], value);
    else assert.equal(err[name], value, `${name} of ${err.message}`);
  }
  assert.match(err.requestID, /^req_/);
  assert.ok(err.error.message.length > 20, 'an error says what to do');
  assert.deepEqual(Object.keys(err.error).sort(), ['code', 'message', 'param', 'type']);
  return true;
});

// upgrade asks for a WebSocket and returns the refusal.
const upgrade = (path) => new Promise((resolve, reject) => {
  const headers = { authorization: `Bearer ${apiKey}`, connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==' };
  const request = http.get(new URL(path, baseURL), { headers }, async (response) => resolve({ status: response.statusCode, body: await json(response) }));
  request.on('upgrade', () => reject(new Error('it was upgraded'))).on('error', reject);
});

test('401', async () => {
  await fails(chat({}, client({ apiKey: 'sk-proj-wrong' })), OpenAI.AuthenticationError, { status: 401, code: 'invalid_api_key', type: 'invalid_request_error', param: null });
  const wrong = apiKey.slice(0, -1) + (apiKey.endsWith('0') ? '1' : '0');
  await fails(chat({}, client({ apiKey: wrong })), OpenAI.AuthenticationError, { status: 401, code: 'invalid_api_key' });
  await fails(chat({}, client({ apiKey: adminAPIKey })), OpenAI.AuthenticationError, { status: 401, code: 'missing_scope' });
  await fails(chat({}, client({ organization: 'org-another' })), OpenAI.AuthenticationError, { code: 'mismatched_organization' });
  await fails(chat({}, client({ project: 'proj_another' })), OpenAI.AuthenticationError, { code: 'mismatched_project' });
  assert.ok(await chat({}, client({ organization })));
});

test('401 without a header, which openai-go sends for an admin call with an API key', async () => {
  for (const [method, path] of [['GET', '/organization/projects'], ['POST', '/chat/completions'], ['GET', '/models']]) {
    const response = await fetch(baseURL + path, { method });
    assert.equal(response.status, 401);
    assert.match(response.headers.get('content-type'), /^application\/json/);
    assert.match(response.headers.get('x-request-id'), /^req_/);
    const { error } = await response.json();
    assert.equal(error.type, 'invalid_request_error');
    assert.equal(error.code, null);
    assert.equal(error.param, null);
    assert.match(error.message, /^You didn't provide an API key\./);
  }
});

test('401 and 403 for restricted keys', async () => {
  const readOnly = await newKey({ scopes: ['api.all.read'] });
  await fails(chat({}, client({ apiKey: readOnly.value })), OpenAI.AuthenticationError, { code: 'missing_scope', message: /Missing scopes: model\.request/ });
  assert.ok((await collect(client({ apiKey: readOnly.value }).models.list())).length > 0);
  const mini = await newKey({ models: ['gpt-4o-mini'] });
  const narrow = client({ apiKey: mini.value });
  await fails(chat({}, narrow), OpenAI.PermissionDeniedError, { status: 403, code: 'model_not_found', param: 'model' });
  assert.ok(await narrow.chat.completions.create({ ...ask, model: 'gpt-4o-mini' }));
  assert.deepEqual((await collect(narrow.models.list())).map((m) => m.id), ['gpt-4o-mini']);
  const elsewhere = await newKey({ allowed_ips: ['192.0.2.0/24'] });
  await fails(chat({}, client({ apiKey: elsewhere.value })), OpenAI.AuthenticationError, { code: 'ip_not_authorized' });
});

test('a revoked key stops at once, a suspended one until it is resumed', async () => {
  const key = await newKey({});
  const its = client({ apiKey: key.value });
  assert.ok(await chat({}, its));
  await gatehouse('POST', `/keys/${key.id}/suspend`);
  await fails(chat({}, its), OpenAI.AuthenticationError, { code: 'api_key_suspended' });
  await gatehouse('POST', `/keys/${key.id}/resume`);
  assert.ok(await chat({}, its));
  await gatehouse('DELETE', `/keys/${key.id}`);
  await fails(chat({}, its), OpenAI.AuthenticationError, { code: 'api_key_revoked' });
});

test('404', async () => {
  await fails(openai.chat.completions.create({ ...ask, model: 'gpt-nobody-declared' }), OpenAI.NotFoundError, { status: 404, code: 'model_not_found', message: /The model `gpt-nobody-declared` does not exist/ });
  await fails(openai.get('/nothing/here'), OpenAI.NotFoundError, { status: 404, message: /Invalid URL \(GET \/v1\/nothing\/here\)/ });
  await fails(chat({}, client({ baseURL: url })), OpenAI.NotFoundError, { status: 404, message: /Invalid URL \(POST \/chat\/completions\).*ends in \/v1/ });
  await fails(openai.responses.retrieve('resp_nobodymadethis'), OpenAI.NotFoundError, { status: 404 });
});

test('400', async () => {
  await fails(openai.chat.completions.create({ messages: ask.messages }), OpenAI.BadRequestError, { status: 400, param: 'model' });
  await fails(openai.chat.completions.create({ model: 'gpt-4o' }), OpenAI.BadRequestError, { status: 400, code: 'missing_required_parameter', param: 'messages' });
  await fails(openai.chat.completions.create({ ...ask, n: 'many' }), OpenAI.BadRequestError, { status: 400 });
});

const status = (code, more = {}) => ({ headers: { 'x-mock-status': `${code}`, 'x-mock-retry-after-ms': '0', ...more } });

test('the upstream\'s own errors', async () => {
  await fails(chat(status(429)), OpenAI.RateLimitError, { status: 429, code: 'rate_limit_exceeded' });
  for (const code of [500, 503]) await fails(chat(status(code)), OpenAI.InternalServerError, { status: code });
  await fails(chat(status(400)), OpenAI.BadRequestError, { status: 400 });
  await fails(chat(status(409)), OpenAI.ConflictError, { status: 409 });
  await fails(chat(status(422)), OpenAI.UnprocessableEntityError, { status: 422 });
});

test('a 401 of the upstream\'s is not the caller\'s', async () => {
  await fails(chat(status(401)), OpenAI.InternalServerError, { status: 502 });
});

test('an error before a stream is an error, not a stream', async () => {
  await fails(openai.chat.completions.create({ ...ask, stream: true }, status(503)), OpenAI.InternalServerError, { status: 503 });
});

test('a stream that breaks off is an error', async () => {
  const stream = await openai.chat.completions.create({ ...ask, stream: true }, { headers: { 'x-mock-break-after': '3' } });
  await assert.rejects(collect(stream));
});

test('what cannot be metered yet is refused', async () => {
  await fails(openai.realtime.clientSecrets.create({ session: { type: 'realtime', model: 'gpt-realtime' } }), OpenAI.PermissionDeniedError, { status: 403 });
});

test('a WebSocket is refused with an answer', async () => {
  for (const path of ['/v1/realtime?model=gpt-realtime', '/v1/responses', '/openai/v1/realtime?model=gpt-realtime']) {
    const { status, body } = await upgrade(path);
    assert.equal(status, 403, path);
    assert.match(body.error.message, /does not serve WebSockets/, path);
  }
});

test('a product the upstream does not have', async () => {
  await fails(openai.vectorStores.create({ name: 'a' }), OpenAI.NotFoundError, { status: 404 });
});

test('retries of the client succeed', async () => {
  const answer = await chat({ ...status(503, { 'x-mock-error-rate': '0.5' }), maxRetries: 5 });
  assert.ok(answer.choices.length === 1);
});

test('timeouts and aborts', async () => {
  const slow = { 'x-mock-latency-ms': '20000' };
  await assert.rejects(chat({ headers: slow, timeout: 200 }), OpenAI.APIConnectionTimeoutError);
  await assert.rejects(chat({ headers: slow, signal: AbortSignal.timeout(200) }), OpenAI.APIUserAbortError);
});

test('administration refuses in the same way', async () => {
  const { organization: of } = administrator().admin;
  await fails(of.projects.retrieve('proj_nobodymadethis'), OpenAI.NotFoundError, { status: 404 });
  await fails(of.projects.create({ name: '' }), OpenAI.BadRequestError, { code: 'missing_required_parameter', param: 'name' });
  await fails(of.projects.create({ name: 'a', external_key_id: 'ek_1' }), OpenAI.BadRequestError, { param: 'external_key_id' });
  await fails(of.projects.list({ limit: 101 }), OpenAI.BadRequestError, { param: 'limit' });
  await fails(administrator({ adminAPIKey: apiKey }).admin.organization.projects.list(), OpenAI.PermissionDeniedError, { status: 403, code: 'missing_scope' });
  await fails(administrator({ adminAPIKey: 'sk-admin-wrong' }).admin.organization.projects.list(), OpenAI.AuthenticationError, { code: 'invalid_api_key' });
});
