import assert from 'node:assert/strict';
import test from 'node:test';
import OpenAI, { AzureOpenAI, toFile } from 'openai';
import { azure, collect, gatehouse, project, url } from './setup.mjs';

const apiVersion = '2024-10-21';
const client = (options = {}) => new AzureOpenAI({ endpoint: azure.endpoint, apiKey: azure.apiKey, apiVersion, maxRetries: 0, timeout: 20_000, ...options });
const openai = client();
const ask = { model: azure.deployment, messages: [{ role: 'user', content: 'Say hello.' }] };

test('chat', async () => {
  const { data, response } = await openai.chat.completions.create(ask).withResponse();
  assert.match(data.choices[0].message.content, /^\[mock gpt-4o\]/);
  assert.ok(response.headers.get('apim-request-id'));
  assert.equal(new URL(response.url).pathname, `/openai/deployments/${azure.deployment}/chat/completions`);
  assert.equal(new URL(response.url).search, `?api-version=${apiVersion}`);
});

test('the caller\'s request id comes back, and the region of the upstream', async () => {
  await gatehouse('POST', '/upstreams', { name: 'regional', dialect: 'mock', region: 'westeurope' });
  await gatehouse('POST', '/deployments', { name: 'near me', routes: [{ upstream: 'regional', model: 'gpt-4o' }] });
  const { response } = await openai.chat.completions.create({ ...ask, model: 'near me' }, { headers: { 'x-ms-client-request-id': 'mine-1' } }).withResponse();
  assert.equal(response.headers.get('x-ms-client-request-id'), 'mine-1');
  assert.equal(response.headers.get('x-ms-region'), 'westeurope');
});

test('a deployment may have any name', async () => {
  for (const name of ['team a/gpt 4o', 'größe-1', 'a%2Fb', 'x.y_z:1']) {
    await gatehouse('POST', '/deployments', { name, routes: [{ upstream: 'mock', model: 'gpt-4o' }] });
    assert.match((await openai.chat.completions.create({ ...ask, model: name })).choices[0].message.content, /^\[mock gpt-4o\]/, name);
    assert.match((await client({ deployment: name }).chat.completions.create(ask)).choices[0].message.content, /^\[mock gpt-4o\]/, name);
    const v1 = new OpenAI({ baseURL: `${url}/v1`, apiKey: azure.apiKey, maxRetries: 0 });
    assert.equal((await v1.models.retrieve(name)).id, name);
    assert.ok(await v1.chat.completions.create({ ...ask, model: name }));
  }
});

test('pictures and sound', async () => {
  const preview = client({ apiVersion: '2025-04-01-preview' });
  const picture = Buffer.from((await preview.images.generate({ model: 'gpt-image-1', prompt: 'A gate' })).data[0].b64_json, 'base64');
  const edited = await preview.images.edit({ model: 'gpt-image-1', prompt: 'Paint it', image: await toFile(picture, 'gate.png', { type: 'image/png' }) });
  assert.ok(edited.data[0].b64_json);
  const sound = Buffer.from(await (await preview.audio.speech.create({ model: 'gpt-4o-mini-tts', voice: 'alloy', input: 'Hello', response_format: 'wav' })).arrayBuffer());
  const heard = await preview.audio.transcriptions.create({ model: 'whisper-1', file: await toFile(sound, 'speech.wav', { type: 'audio/wav' }) });
  assert.ok(heard.text.length > 0);
});

test('files go where the project says, because they name no model', async () => {
  await gatehouse('POST', `/projects/${project}`, { upstream: 'mock' });
  const file = await openai.files.create({ file: await toFile(Buffer.from('{}'), 'a.jsonl'), purpose: 'user_data' });
  assert.equal((await openai.files.retrieve(file.id)).id, file.id);
  assert.equal(await (await openai.files.content(file.id)).text(), '{}');
  assert.ok((await collect(openai.files.list())).some((f) => f.id === file.id));
  assert.equal((await openai.files.delete(file.id)).deleted, true);
});

test('the deployment of the path wins', async () => {
  const fixed = client({ deployment: 'gpt-4o-mini' });
  assert.match((await fixed.chat.completions.create({ ...ask, model: 'another' })).choices[0].message.content, /^\[mock gpt-4o-mini\]/);
});

test('stream', async () => {
  const chunks = await collect(await openai.chat.completions.create({ ...ask, stream: true }));
  assert.ok(chunks.every((c) => c.choices.length === 1));
  assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
  const asked = await collect(await openai.chat.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } }));
  assert.ok(asked.at(-1).usage.total_tokens > 0);
});

test('embeddings', async () => {
  const made = await openai.embeddings.create({ model: 'text-embedding-3-small', input: 'one' });
  assert.equal(made.data[0].embedding.length, 1536);
  assert.equal(typeof made.data[0].embedding[0], 'number');
});

test('responses and models', async () => {
  const preview = client({ apiVersion: '2025-03-01-preview' });
  assert.match((await preview.responses.create({ model: azure.deployment, input: 'Hi' })).output_text, /^\[mock gpt-4o\]/);
  assert.ok((await collect(preview.models.list())).some((m) => m.id === azure.deployment));
});

test('any api-version of the right shape', async () => {
  for (const version of ['2023-05-15', '2024-02-01', '2025-04-01-preview', '2031-12-24']) {
    assert.ok(await client({ apiVersion: version }).chat.completions.create(ask), version);
  }
});

test('errors have Azure\'s shape and the client\'s classes', async () => {
  await assert.rejects(client({ apiKey: 'wrong' }).chat.completions.create(ask), (err) => {
    assert.ok(err instanceof OpenAI.AuthenticationError);
    assert.equal(err.code, '401');
    assert.match(err.message, /Access denied due to invalid subscription key/);
    assert.ok(err.requestID);
    return true;
  });
  await assert.rejects(openai.chat.completions.create({ ...ask, model: 'nobody-made-this' }), (err) => {
    assert.ok(err instanceof OpenAI.NotFoundError);
    assert.equal(err.code, 'DeploymentNotFound');
    return true;
  });
  await assert.rejects(openai.chat.completions.create(ask, { headers: { 'x-mock-status': '429', 'x-mock-retry-after-ms': '0' } }), OpenAI.RateLimitError);
});

test('the v1 API takes the plain client, with the key as a bearer', async () => {
  const v1 = new OpenAI({ baseURL: `${url}/openai/v1`, apiKey: azure.apiKey, maxRetries: 0, timeout: 20_000 });
  assert.match((await v1.chat.completions.create(ask)).choices[0].message.content, /^\[mock gpt-4o\]/);
  assert.ok((await collect(await v1.chat.completions.create({ ...ask, stream: true }))).length > 2);
  assert.match((await v1.responses.create({ model: azure.deployment, input: 'Hi' })).output_text, /^\[mock gpt-4o\]/);
  assert.equal((await v1.embeddings.create({ model: 'text-embedding-3-small', input: 'one' })).data[0].embedding.length, 1536);
  const preview = new OpenAI({ baseURL: `${url}/openai/v1/`, apiKey: async () => azure.apiKey, defaultQuery: { 'api-version': 'preview' }, maxRetries: 0 });
  assert.ok(await preview.chat.completions.create(ask));
});

test('a token provider sends a bearer', async () => {
  const { apiKey: _, ...bearer } = { endpoint: azure.endpoint, apiVersion, maxRetries: 0, azureADTokenProvider: async () => azure.apiKey };
  assert.ok(await new AzureOpenAI(bearer).chat.completions.create(ask));
});
