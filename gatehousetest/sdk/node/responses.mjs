import assert from 'node:assert/strict';
import test from 'node:test';
import OpenAI from 'openai';
import { client, collect } from './setup.mjs';

const openai = client();
const ask = { model: 'gpt-4o', input: 'Say hello.' };

test('plain', async () => {
  const response = await openai.responses.create(ask);
  assert.equal(response.status, 'completed');
  assert.match(response.output_text, /^\[mock gpt-4o\]/);
  assert.ok(response.usage.input_tokens > 0 && response.usage.output_tokens > 0);
  assert.match(response._request_id, /^req_/);
});

test('stream', async () => {
  const events = await collect(await openai.responses.create({ ...ask, stream: true }));
  assert.equal(events[0].type, 'response.created');
  assert.equal(events.at(-1).type, 'response.completed');
  assert.deepEqual(events.map((e) => e.sequence_number), events.map((_, i) => i));
  const text = events.filter((e) => e.type === 'response.output_text.delta').map((e) => e.delta).join('');
  const { response } = events.at(-1);
  assert.equal(response.output[0].content[0].text, text);
  assert.match(text, /^\[mock gpt-4o\]/);
  assert.ok(response.usage.total_tokens > 0);
});

test('the stream helper gives the whole response', async () => {
  const final = await openai.responses.stream(ask).finalResponse();
  assert.match(final.output_text, /^\[mock gpt-4o\]/);
  assert.ok(final.usage.output_tokens > 0);
});

test('retrieve, input items, delete', async () => {
  const created = await openai.responses.create(ask);
  const found = await openai.responses.retrieve(created.id);
  assert.equal(found.output_text, created.output_text);
  const items = await collect(openai.responses.inputItems.list(created.id));
  assert.equal(items.length, 1);
  await openai.responses.delete(created.id);
  await assert.rejects(openai.responses.retrieve(created.id), OpenAI.NotFoundError);
});

test('a stored stream can be read again', async () => {
  const events = await collect(await openai.responses.create({ ...ask, stream: true }));
  const { id } = events.at(-1).response;
  assert.equal((await openai.responses.retrieve(id)).status, 'completed');
  const again = await collect(await openai.responses.retrieve(id, { stream: true }));
  assert.equal(again.at(-1).type, 'response.completed');
});

test('store: false leaves nothing', async () => {
  const created = await openai.responses.create({ ...ask, store: false });
  await assert.rejects(openai.responses.retrieve(created.id), OpenAI.NotFoundError);
});

test('previous_response_id', async () => {
  const first = await openai.responses.create(ask);
  const second = await openai.responses.create({ ...ask, input: 'And again.', previous_response_id: first.id });
  assert.equal(second.previous_response_id, first.id);
  assert.ok(second.usage.input_tokens > first.usage.input_tokens);
  await assert.rejects(openai.responses.create({ ...ask, previous_response_id: 'resp_nobodymadethis' }), OpenAI.NotFoundError);
});

test('input tokens are counted without an answer', async () => {
  const count = await openai.responses.inputTokens.count(ask);
  assert.equal(count.object, 'response.input_tokens');
  assert.equal(count.input_tokens, (await openai.responses.create(ask)).usage.input_tokens);
});

test('conversations', async () => {
  const conversation = await openai.conversations.create({ metadata: { topic: 'a' }, items: [{ type: 'message', role: 'user', content: 'Hi' }] });
  assert.match(conversation.id, /^conv_/);
  assert.equal((await openai.conversations.retrieve(conversation.id)).metadata.topic, 'a');
  assert.equal((await openai.conversations.update(conversation.id, { metadata: { topic: 'b' } })).metadata.topic, 'b');
  for (let i = 0; i < 4; i++) {
    await openai.conversations.items.create(conversation.id, { items: [{ type: 'message', role: 'user', content: `line ${i}` }] });
  }
  const items = await collect(openai.conversations.items.list(conversation.id, { limit: 2, order: 'asc' }));
  assert.deepEqual(items.map((i) => i.content[0].text), ['Hi', 'line 0', 'line 1', 'line 2', 'line 3']);
  assert.equal((await openai.conversations.items.retrieve(items[1].id, { conversation_id: conversation.id })).id, items[1].id);
  await openai.conversations.items.delete(items[1].id, { conversation_id: conversation.id });
  const answer = await openai.responses.create({ ...ask, conversation: conversation.id });
  assert.equal(answer.conversation.id, conversation.id);
  assert.equal((await openai.conversations.delete(conversation.id)).deleted, true);
  await assert.rejects(openai.conversations.retrieve(conversation.id), OpenAI.NotFoundError);
});

test('background responses are polled and cancelled', async () => {
  const started = await openai.responses.create({ ...ask, background: true });
  assert.match(started.id, /^resp_/);
  let polled = started;
  for (let i = 0; i < 50 && ['queued', 'in_progress'].includes(polled.status); i++) polled = await openai.responses.retrieve(started.id);
  assert.equal(polled.status, 'completed');
  assert.ok(['completed', 'cancelled'].includes((await openai.responses.cancel(started.id)).status));
});

test('retrieve with include', async () => {
  const created = await openai.responses.create(ask);
  assert.equal((await openai.responses.retrieve(created.id, { include: ['message.output_text.logprobs', 'reasoning.encrypted_content'] })).id, created.id);
});

test('a structured answer', async () => {
  const schema = { type: 'object', properties: { answer: { type: 'string' } }, required: ['answer'], additionalProperties: false };
  const parsed = await openai.responses.create({ ...ask, text: { format: { type: 'json_schema', name: 'answer', strict: true, schema } } });
  assert.equal(parsed.status, 'completed');
});

test('compact', async () => {
  const compacted = await openai.responses.compact({ model: 'gpt-4o', input: 'A long story.' });
  assert.equal(compacted.object, 'response.compaction');
});
