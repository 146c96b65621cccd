// The clients of both dialects in front of an upstream that answers as Azure OpenAI was recorded to. It refuses the first four
// requests: two by its filter, two by its limit.
import assert from 'node:assert/strict';
import test from 'node:test';
import OpenAI, { AzureOpenAI } from 'openai';
import { azure, client, collect, url } from './setup.mjs';

const text = 'Hello from the far side.';
const openai = client();
const azureOpenAI = new AzureOpenAI({ endpoint: url, apiKey: azure.apiKey, apiVersion: '2025-04-01-preview', maxRetries: 0, timeout: 20_000 });
const messages = [{ role: 'user', content: 'Hello?' }];

test('the filter refuses', async () => {
  for (const c of [openai, azureOpenAI]) {
    await assert.rejects(c.chat.completions.create({ model: 'chat', messages }), (err) => {
      assert.ok(err instanceof OpenAI.BadRequestError);
      assert.equal(err.code, 'content_filter');
      assert.equal(err.param, 'prompt');
      assert.equal(err.error.innererror.content_filter_result.jailbreak.detected, true);
      return true;
    });
  }
});

test('the limit refuses', async () => {
  for (const [c, code] of [[openai, 'rate_limit_exceeded'], [azureOpenAI, '429']]) {
    await assert.rejects(c.chat.completions.create({ model: 'chat', messages }), (err) => {
      assert.ok(err instanceof OpenAI.RateLimitError);
      assert.equal(err.code, code);
      assert.equal(err.headers.get('retry-after-ms'), '5750');
      return true;
    });
  }
});

for (const [name, c] of [['OpenAI', openai], ['AzureOpenAI', azureOpenAI]]) {
  test(`${name}: answers`, async () => {
    const chat = await c.chat.completions.create({ model: 'chat', messages });
    assert.equal(chat.choices[0].message.content, text);
    assert.equal(chat.model, 'gpt-4o-2024-08-06');
    assert.equal(chat.usage.total_tokens, 26);
    assert.equal(chat.prompt_filter_results[0].content_filter_results.jailbreak.detected, false);
    const vector = (await c.embeddings.create({ model: 'embed', input: 'one' })).data[0].embedding; // asks for base64
    assert.deepEqual(Array.from(vector), [0.25, -0.5, 1]);
  });

  test(`${name}: streams`, async () => {
    for (const model of ['chat', 'async']) {
      const chunks = await collect(await c.chat.completions.create({ model, messages, stream: true, stream_options: { include_usage: true } }));
      assert.equal(chunks.map((chunk) => chunk.choices[0]?.delta?.content ?? '').join(''), text);
      assert.equal(chunks.at(-1).usage.total_tokens, 26);
      if (name === 'OpenAI') assert.ok(chunks.slice(0, -1).every((chunk) => chunk.choices[0].delta));
      else assert.equal(chunks[0].choices.length, 0);
    }
    // The helper of the client reads choices[0].delta without looking, as most programs do.
    if (name === 'OpenAI') {
      const whole = await c.chat.completions.stream({ model: 'async', messages }).finalChatCompletion();
      assert.equal(whole.choices[0].message.content, text);
      assert.deepEqual([whole.model, whole.created, whole.object], ['gpt-4o-2024-11-20', 1741569952, 'chat.completion']);
      assert.match(whole.id, /^chatcmpl-/);
    }
  });
}

test('what nobody deployed', async () => {
  await assert.rejects(openai.chat.completions.create({ model: 'gone', messages }), (err) => err instanceof OpenAI.NotFoundError && err.code === 'model_not_found');
  await assert.rejects(azureOpenAI.chat.completions.create({ model: 'gone', messages }), (err) => err instanceof OpenAI.NotFoundError && err.code === 'DeploymentNotFound');
});
