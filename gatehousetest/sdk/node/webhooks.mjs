import assert from 'node:assert/strict';
import http from 'node:http';
import { after, test } from 'node:test';
import OpenAI, { toFile } from 'openai';
import { client, collect, newKey } from './setup.mjs';

const openai = client();

// receiver takes what an endpoint is sent. next waits for a message that is still to be looked at.
const receiver = async () => {
  const messages = [];
  const waiting = [];
  const r = { status: 200 };
  const server = http.createServer((req, res) => {
    const parts = [];
    req.on('data', (part) => parts.push(part));
    req.on('end', () => {
      const message = { headers: req.headers, body: Buffer.concat(parts).toString() };
      (waiting.shift() ?? ((m) => messages.push(m)))(message);
      res.writeHead(r.status).end();
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  after(() => server.close());
  r.url = `http://127.0.0.1:${server.address().port}/hook`;
  r.next = () => (messages.length > 0 ? Promise.resolve(messages.shift()) : new Promise((resolve) => waiting.push(resolve)));
  r.left = () => messages.length;
  return r;
};

const refused = (promise, status, text) => assert.rejects(promise, (err) => err.status === status && text.test(err.message));

test('an endpoint from its beginning to its end', async () => {
  const r = await receiver();
  const { data: types } = await openai.webhooks.eventTypes.list();
  assert.ok(types.includes('response.completed') && types.includes('batch.completed'));
  const made = await openai.webhooks.create({ name: 'ours', url: r.url, event_types: ['response.completed'] });
  assert.equal(made.object, 'webhook_endpoint');
  assert.match(made.signing_secret, /^whsec_/);
  const shown = await openai.webhooks.retrieve(made.id);
  assert.equal(shown.signing_secret, undefined);
  assert.ok(made.signing_secret.endsWith(shown.signing_secret_hint.slice(-4)));
  assert.deepEqual((await collect(openai.webhooks.list({ limit: 1 }))).map((e) => e.id), [made.id]);

  const test = await openai.webhooks.test(made.id, { event_type: 'batch.completed' });
  assert.deepEqual({ ...test }, { object: 'webhook_endpoint.test', webhook_endpoint_id: made.id, event_type: 'batch.completed', status_code: 200, success: true });
  const first = await r.next();
  assert.equal((await openai.webhooks.unwrap(first.body, first.headers, made.signing_secret)).type, 'batch.completed');
  r.status = 500;
  assert.equal((await openai.webhooks.test(made.id, { event_type: 'batch.completed' })).status_code, 500);
  await r.next();
  r.status = 200;

  // For a day, what is signed with the new secret is signed with the old one too.
  const rotated = await openai.webhooks.rotateSecret(made.id, { keep_old_secret_active_for_24_hours: true });
  await openai.webhooks.test(made.id, { event_type: 'video.failed' });
  const both = await r.next();
  for (const secret of [made.signing_secret, rotated.signing_secret]) await openai.webhooks.unwrap(both.body, both.headers, secret);
  const final = await openai.webhooks.rotateSecret(made.id);
  await openai.webhooks.test(made.id, { event_type: 'video.failed' });
  const one = await r.next();
  await openai.webhooks.unwrap(one.body, one.headers, final.signing_secret);
  await assert.rejects(openai.webhooks.unwrap(one.body, one.headers, rotated.signing_secret), OpenAI.InvalidWebhookSignatureError);

  const renamed = await openai.webhooks.update(made.id, { name: 'theirs' });
  assert.deepEqual([renamed.name, renamed.url, renamed.event_types], ['theirs', r.url, ['response.completed']]);
  assert.deepEqual({ ...(await openai.webhooks.delete(made.id)) }, { id: made.id, object: 'webhook_endpoint.deleted', deleted: true });
  await refused(openai.webhooks.retrieve(made.id), 404, /webhook endpoint/);
  await refused(openai.webhooks.test(made.id, { event_type: 'video.failed' }), 404, /webhook endpoint/);
  assert.deepEqual(await collect(openai.webhooks.list()), []);
});

test('background work tells of its end', async () => {
  const r = await receiver();
  const other = await receiver(); // asks for something else
  const made = await openai.webhooks.create({ name: 'ours', url: r.url, event_types: ['response.completed', 'batch.completed'] });
  await openai.webhooks.create({ name: 'other', url: other.url, event_types: ['response.failed'] });

  const response = await openai.responses.create({ model: 'gpt-4o', input: 'Say hello.', background: true });
  const told = await r.next();
  const event = await openai.webhooks.unwrap(told.body, told.headers, made.signing_secret);
  assert.deepEqual([event.object, event.type, event.data.id], ['event', 'response.completed', response.id]);
  assert.equal((await openai.responses.retrieve(event.data.id)).status, 'completed');

  const line = JSON.stringify({ custom_id: 'a', method: 'POST', url: '/v1/embeddings', body: { model: 'text-embedding-3-small', input: 'one' } }) + '\n';
  const input = await openai.files.create({ file: await toFile(Buffer.from(line), 'in.jsonl'), purpose: 'batch' });
  const batch = await openai.batches.create({ input_file_id: input.id, endpoint: '/v1/embeddings', completion_window: '24h' });
  const second = await r.next();
  const done = await openai.webhooks.unwrap(second.body, second.headers, made.signing_secret);
  assert.deepEqual([done.type, done.data.id], ['batch.completed', batch.id]);
  assert.notEqual(first(second.headers), first(told.headers));

  // What was answered at once is nobody's event, and neither is what was told already.
  await openai.responses.create({ model: 'gpt-4o', input: 'Say hello.' });
  await openai.responses.retrieve(response.id);
  await openai.webhooks.test(made.id, { event_type: 'video.failed' });
  assert.equal(JSON.parse((await r.next()).body).type, 'video.failed');
  assert.deepEqual([r.left(), other.left()], [0, 0]);
  for (const e of await collect(openai.webhooks.list())) await openai.webhooks.delete(e.id);
});

const first = (headers) => headers['webhook-id'];

test('what is refused says why', async () => {
  const good = { name: 'ours', url: 'https://hooks.example.com/x', event_types: ['response.completed'] };
  for (const [change, text] of [
    [{ name: '' }, /name/], [{ name: undefined }, /name/], [{ url: 'ftp://hooks.example.com' }, /https/], [{ url: 'https://user:word@hooks.example.com' }, /credential/],
    [{ event_types: [] }, /at least one/], [{ event_types: ['response.done'] }, /response\.done.*webhook_event_types/], [{ event_types: undefined }, /event_types/],
    [{ colour: 'red' }, /colour/],
  ]) await refused(openai.webhooks.create({ ...good, ...change }), 400, text);
  await refused(openai.webhooks.retrieve('whe_none'), 404, /webhook endpoint/);
  const closed = await openai.webhooks.create({ ...good, url: 'http://127.0.0.1:1/hook' });
  await refused(openai.webhooks.test(closed.id, { event_type: 'video.failed' }), 400, /127\.0\.0\.1:1/);
  await refused(openai.webhooks.test(closed.id, { event_type: 'response.done' }), 400, /event_type/);
  const reader = client({ apiKey: (await newKey({ scopes: ['api.webhook_endpoints.read'] })).value });
  assert.equal((await reader.webhooks.retrieve(closed.id)).id, closed.id);
  await refused(reader.webhooks.delete(closed.id), 401, /api\.webhook_endpoints\.write/);
  const stranger = client({ apiKey: (await newKey({ scopes: ['api.responses.write'] })).value });
  await refused(stranger.webhooks.list(), 401, /api\.webhook_endpoints\.read/);
  await openai.webhooks.delete(closed.id);
});
