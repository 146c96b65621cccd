import assert from 'node:assert/strict';
import test from 'node:test';
import { client, collect } from './setup.mjs';

const openai = client();
const ask = { model: 'gpt-4o', messages: [{ role: 'user', content: 'Say hello.' }] };

test('plain', async () => {
  const { data, response, request_id } = await openai.chat.completions.create(ask).withResponse();
  assert.equal(data.object, 'chat.completion');
  assert.match(data.choices[0].message.content, /^\[mock gpt-4o\]/);
  assert.equal(data.choices[0].finish_reason, 'stop');
  assert.ok(data.usage.prompt_tokens > 0 && data.usage.completion_tokens > 0);
  assert.equal(data.usage.total_tokens, data.usage.prompt_tokens + data.usage.completion_tokens);
  assert.match(data._request_id, /^req_/);
  assert.equal(request_id, data._request_id);
  assert.equal(response.headers.get('x-gatehouse-mock'), '1');
});

test('stream hides the usage nobody asked for', async () => {
  const chunks = await collect(await openai.chat.completions.create({ ...ask, stream: true }));
  assert.ok(chunks.length > 2);
  for (const chunk of chunks) {
    assert.equal(chunk.choices.length, 1, JSON.stringify(chunk));
    assert.equal(chunk.usage ?? null, null);
    assert.equal(chunk.id, chunks[0].id);
  }
  assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
  assert.match(chunks.map((c) => c.choices[0].delta.content ?? '').join(''), /^\[mock gpt-4o\]/);
});

test('stream with include_usage', async () => {
  const chunks = await collect(await openai.chat.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } }));
  const last = chunks.at(-1);
  assert.deepEqual(last.choices, []);
  assert.ok(last.usage.completion_tokens > 0);
  assert.equal(chunks.filter((c) => c.choices.length === 0).length, 1);
});

test('include_usage: false stays as it is', async () => {
  const chunks = await collect(await openai.chat.completions.create({ ...ask, stream: true, stream_options: { include_usage: false } }));
  assert.ok(chunks.every((c) => c.choices.length === 1 && (c.usage ?? null) === null));
});

test('plain and streamed texts are the same', async () => {
  const plain = await openai.chat.completions.create(ask);
  const whole = await openai.chat.completions.stream(ask).finalChatCompletion();
  assert.equal(whole.choices[0].message.content, plain.choices[0].message.content);
});

test('a stream that is aborted ends', async () => {
  const stream = await openai.chat.completions.create({ ...ask, stream: true }, { headers: { 'x-mock-tokens': '1000', 'x-mock-chunk-delay-ms': '50' } });
  let seen = 0;
  for await (const _ of stream) {
    if (++seen === 2) stream.controller.abort();
  }
  assert.ok(seen < 1000);
});

test('stored completions', async () => {
  const stored = await openai.chat.completions.create({ ...ask, store: true, metadata: { team: 'a' } });
  const found = await openai.chat.completions.retrieve(stored.id);
  assert.equal(found.id, stored.id);
  assert.equal(found.choices[0].message.content, stored.choices[0].message.content);
  const changed = await openai.chat.completions.update(stored.id, { metadata: { team: 'b' } });
  assert.equal(changed.metadata.team, 'b');
  const messages = await collect(openai.chat.completions.messages.list(stored.id));
  assert.equal(messages[0].content, 'Say hello.');
  const all = await collect(openai.chat.completions.list({ limit: 3, metadata: { team: 'b' } }));
  assert.deepEqual(all.map((c) => c.id), [stored.id]);
  assert.equal((await openai.chat.completions.delete(stored.id)).deleted, true);
  await assert.rejects(openai.chat.completions.retrieve(stored.id), { status: 404 });
});

test('legacy completions', async () => {
  const legacy = { model: 'gpt-3.5-turbo-instruct', prompt: 'Once' };
  const plain = await openai.completions.create(legacy);
  assert.match(plain.choices[0].text, /\[mock gpt-3\.5-turbo-instruct\]/);
  const chunks = await collect(await openai.completions.create({ ...legacy, stream: true }));
  assert.equal(chunks.map((c) => c.choices[0].text).join(''), plain.choices[0].text);
});

test('several choices, and fields nobody knows yet', async () => {
  const answer = await openai.chat.completions.create({ ...ask, n: 3, frobnicate: { deep: [1e400.toString(), null] } });
  assert.deepEqual(answer.choices.map((c) => c.index), [0, 1, 2]);
  const chunks = await collect(await openai.chat.completions.create({ ...ask, n: 2, stream: true }));
  assert.deepEqual(new Set(chunks.map((c) => c.choices[0].index)), new Set([0, 1]));
});

test('large bodies and odd texts', async () => {
  const content = 'a \u{1f9f1} \ud800 "quoted" \\ \u0000 '.repeat(20_000);
  const answer = await openai.chat.completions.create({ ...ask, messages: [{ role: 'user', content }] });
  assert.ok(answer.usage.prompt_tokens > 100_000);
});

test('the key as the password of Basic', async () => {
  const authorization = `Basic ${Buffer.from(`:${process.env.GATEHOUSE_API_KEY}`).toString('base64')}`;
  assert.ok(await client({ apiKey: 'unused', defaultHeaders: { authorization } }).chat.completions.create(ask));
});

test('dynamic keys are asked for with every request', async () => {
  let asked = 0;
  const dynamic = client({ apiKey: async () => { asked++; return process.env.GATEHOUSE_API_KEY; } });
  await dynamic.chat.completions.create(ask);
  await dynamic.chat.completions.create(ask);
  assert.equal(asked, 2);
});
