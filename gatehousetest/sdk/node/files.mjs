import assert from 'node:assert/strict';
import test from 'node:test';
import OpenAI, { toFile } from 'openai';
import { client, collect } from './setup.mjs';

const openai = client();

test('files', async () => {
  const content = '{"n": 12345678901234567890}\n'.repeat(1000);
  const file = await openai.files.create({ file: await toFile(Buffer.from(content), 'data.jsonl'), purpose: 'user_data' });
  assert.match(file.id, /^file-/);
  assert.equal(file.bytes, content.length);
  assert.equal((await openai.files.retrieve(file.id)).filename, 'data.jsonl');
  assert.equal(await (await openai.files.content(file.id)).text(), content);
  assert.ok((await collect(openai.files.list())).some((f) => f.id === file.id));
  assert.equal((await openai.files.waitForProcessing(file.id)).status, 'processed');
  assert.deepEqual(await openai.files.delete(file.id), { id: file.id, object: 'file', deleted: true });
  await assert.rejects(openai.files.retrieve(file.id), OpenAI.NotFoundError);
  await assert.rejects(openai.files.content('file-nobodymadethis'), OpenAI.NotFoundError);
});

test('files are listed page by page', async () => {
  const made = [];
  for (let i = 0; i < 43; i++) made.push((await openai.files.create({ file: await toFile(Buffer.from(`${i}`), `${i}.txt`), purpose: 'user_data' })).id);
  for (const limit of [3, 7]) {
    const listed = await collect(openai.files.list({ limit, order: 'asc' }));
    assert.deepEqual(listed.map((f) => f.id), made);
  }
});

test('models', async () => {
  const models = await collect(openai.models.list());
  const names = models.map((m) => m.id);
  for (const name of ['gpt-4o', 'gpt-4o-mini', 'text-embedding-3-small', 'gpt-image-1']) assert.ok(names.includes(name), name);
  assert.ok(models.every((m) => m.object === 'model' && m.created > 0 && m.owned_by));
  assert.equal((await openai.models.retrieve('gpt-4o')).id, 'gpt-4o');
  await assert.rejects(openai.models.retrieve('gpt-nobody-declared'), OpenAI.NotFoundError);
});
