// A Resource as AzureOpenAI is configured with it: an endpoint, KEY1, and KEY2 to change over to.
import assert from 'node:assert/strict';
import test from 'node:test';
import OpenAI, { AzureOpenAI } from 'openai';
import { azure, collect, gatehouse, project, url } from './setup.mjs';

const made = await gatehouse('POST', '/resources', { project_id: project, name: 'contoso' });
const azureClient = (apiKey, options = {}) => new AzureOpenAI({ endpoint: url, apiKey, apiVersion: '2025-03-01-preview', maxRetries: 0, timeout: 20_000, ...options });
const ask = { model: azure.deployment, messages: [{ role: 'user', content: 'Say hello.' }] };
const says = /^\[mock gpt-4o\]/;

for (const name of ['key1', 'key2']) {
  test(`${name} does what the client can do`, async () => {
    const openai = azureClient(made[name].value);
    assert.match((await openai.chat.completions.create(ask)).choices[0].message.content, says);
    const chunks = await collect(await openai.chat.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } }));
    assert.ok(chunks.at(-1).usage.total_tokens > 0);
    assert.equal((await openai.embeddings.create({ model: 'text-embedding-3-small', input: 'one' })).data[0].embedding.length, 1536);
    assert.match((await openai.responses.create({ model: azure.deployment, input: 'Hi' })).output_text, says);
    assert.ok((await collect(openai.models.list())).some((m) => m.id === azure.deployment && m.created > 0));
    const v1 = new OpenAI({ baseURL: `${url}/openai/v1/`, apiKey: made[name].value, maxRetries: 0 });
    assert.match((await v1.chat.completions.create(ask)).choices[0].message.content, says);
    const provider = new AzureOpenAI({ endpoint: url, apiVersion: '2024-10-21', maxRetries: 0, azureADTokenProvider: async () => made[name].value });
    assert.match((await provider.chat.completions.create(ask)).choices[0].message.content, says);
  });
}

test('a key is changed over without a refused call', async () => {
  const [one, two] = [azureClient(made.key1.value), azureClient(made.key2.value)];
  let running = true;
  const load = (async () => {
    let calls = 0;
    for (; running; calls++) await two.chat.completions.create(ask);
    return calls;
  })();
  const after = await gatehouse('POST', `/resources/${made.id}/regenerate_key`, { key_name: 'KEY1' });
  await assert.rejects(one.chat.completions.create(ask), (err) => {
    assert.ok(err instanceof OpenAI.AuthenticationError);
    assert.match(err.message, /revoked/);
    return true;
  });
  assert.match((await azureClient(after.key1.value).chat.completions.create(ask)).choices[0].message.content, says);
  running = false;
  assert.ok((await load) > 0);
  assert.equal(after.key2.value, undefined);
  assert.equal((await gatehouse('GET', `/resources/${made.id}`)).key1.value, undefined);
});

test('a key of a resource administers nothing', async () => {
  const response = await fetch(`${url}/gatehouse/v1/resources`, { headers: { authorization: `Bearer ${made.key2.value}` } });
  assert.equal(response.status, 403);
});
