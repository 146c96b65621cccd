import assert from 'node:assert/strict';
import test from 'node:test';
import OpenAI, { toFile } from 'openai';
import { administrator, client, collect, gatehouse, newKey } from './setup.mjs';

const openai = client();
const { usage } = administrator().admin.organization;
const start_time = Math.floor(Date.now() / 1000); // of today alone, also just after midnight

const line = (id, model = 'gpt-4o', url = '/v1/chat/completions') =>
  JSON.stringify({ custom_id: id, method: 'POST', url, body: { model, messages: [{ role: 'user', content: 'Say hello.' }], max_tokens: 20 } }) + '\n';

const upload = async (text, as = openai) => as.files.create({ file: await toFile(Buffer.from(text), 'in.jsonl'), purpose: 'batch' });

// until waits for something that takes a moment, without holding a busy machine to a time.
const until = async (what, look) => {
  for (const end = Date.now() + 60_000; ; await new Promise((r) => setTimeout(r, 100))) {
    const got = await look();
    if (got) return got;
    if (Date.now() > end) throw new Error(`${what}: not after a minute`);
  }
};

// counted returns the usage that was counted under one model of a kind.
const counted = async (filter) => (await usage.completions({ start_time, bucket_width: '1d', group_by: ['model', 'batch'], ...filter })).data.flatMap((b) => b.results);

test('a batch from its file to its answers', async () => {
  const input = await upload(line('one') + line('two'));
  const batch = await openai.batches.create({ input_file_id: input.id, endpoint: '/v1/chat/completions', completion_window: '24h' });
  assert.equal(batch.status, 'validating');
  const done = await until('the batch', async () => {
    const b = await openai.batches.retrieve(batch.id);
    return b.status === 'completed' && b;
  });
  assert.deepEqual(done.request_counts, { total: 2, completed: 2, failed: 0 });
  const answers = (await (await openai.files.content(done.output_file_id)).text()).trim().split('\n').map((l) => JSON.parse(l));
  assert.deepEqual(answers.map((a) => a.custom_id), ['one', 'two']);
  for (const a of answers) assert.match(a.response.body.choices[0].message.content, /^\[mock gpt-4o\]/);
  assert.ok((await collect(openai.batches.list())).some((b) => b.id === batch.id));
  const [only] = await until('its usage', async () => {
    const results = (await counted({ batch: true })).filter((r) => r.batch);
    return results.length > 0 && results;
  });
  assert.deepEqual([only.num_model_requests, only.input_tokens, only.output_tokens, only.model], [1, done.usage.input_tokens, done.usage.output_tokens, 'gpt-4o']);
});

test('a batch that is cancelled', async () => {
  const input = await upload(line('one'));
  const batch = await openai.batches.create({ input_file_id: input.id, endpoint: '/v1/chat/completions', completion_window: '24h' });
  // The steward looks too, and then it is done.
  const over = await openai.batches.cancel(batch.id).catch((err) => { assert.ok(err instanceof OpenAI.ConflictError); return { status: 'cancelled' }; });
  assert.equal(over.status, 'cancelled');
});

test('batches that are refused', async () => {
  const refused = (promise, status, code, text) => assert.rejects(promise, (err) => err.status === status && err.code === code && text.test(err.message), code);
  await refused(upload(line('one') + line('one')), 400, 'duplicate_custom_id', /Line 2/);
  await refused(upload(line('one', 'nobody-made-this')), 404, 'model_not_found', /Line 1/);
  await refused(upload('no line\n'), 400, 'invalid_json', /Line 1/);
  const narrow = client({ apiKey: (await newKey({ models: ['gpt-4o-mini'] })).value });
  await assert.rejects(upload(line('one'), narrow), (err) => err.status === 403 && /Line 1/.test(err.message));
  const other = await openai.files.create({ file: await toFile(Buffer.from(line('one')), 'in.jsonl'), purpose: 'user_data' });
  await refused(openai.batches.create({ input_file_id: other.id, endpoint: '/v1/chat/completions', completion_window: '24h' }), 400, 'batch_file_unread', /Upload it again/);
  await assert.rejects(openai.uploads.create({ purpose: 'batch', filename: 'a.jsonl', bytes: 10, mime_type: 'application/jsonl' }), OpenAI.BadRequestError);
});

test('a background response that nobody asks for is counted once', async () => {
  const before = (await counted({ models: ['gpt-4.1'] })).reduce((n, r) => n + r.num_model_requests, 0);
  const { data, response } = await openai.responses.create({ model: 'gpt-4.1', input: 'Take your time.', background: true }).withResponse();
  assert.equal(data.status, 'queued');
  const request = response.headers.get('x-request-id');
  assert.equal((await gatehouse('GET', `/requests/${request}`)).work, data.id);
  const explained = await until('its usage', async () => {
    const r = await gatehouse('GET', `/requests/${request}`);
    return r.usage_source === 'reported' && r;
  });
  const done = await openai.responses.retrieve(data.id);
  assert.equal(done.status, 'completed');
  assert.deepEqual([explained.usage.input_tokens, explained.usage.output_tokens], [done.usage.input_tokens, done.usage.output_tokens]);
  assert.equal((await counted({ models: ['gpt-4.1'] })).reduce((n, r) => n + r.num_model_requests, 0), before + 1);
});

test('a background stream', async () => {
  const events = await collect(await openai.responses.create({ model: 'gpt-4o', input: 'Say hello.', background: true, stream: true }));
  assert.equal(events.at(-1).type, 'response.completed');
});

test('a video', async () => {
  const video = await openai.videos.create({ model: 'sora-2', prompt: 'a cat', seconds: '8' });
  const done = await until('the video', async () => {
    const v = await openai.videos.retrieve(video.id);
    return v.status === 'completed' && v;
  });
  assert.equal(done.seconds, '8');
  assert.match(await (await openai.videos.downloadContent(video.id)).text(), /^\[mock sora-2\]/);
  await until('its usage', async () => (await gatehouse('GET', '/usage?group_by=product')).data.some((l) => l.product === 'videos' && l.video_milliseconds === 8000));
});

test('fine-tuning', async () => {
  const file = await openai.files.create({ file: await toFile(Buffer.from('{"messages":[]}\n'), 'train.jsonl'), purpose: 'fine-tune' });
  const job = await openai.fineTuning.jobs.create({ model: 'gpt-4o-mini', training_file: file.id });
  const done = await until('the job', async () => {
    const j = await openai.fineTuning.jobs.retrieve(job.id);
    return j.status === 'succeeded' && j;
  });
  await until('its usage', async () => (await gatehouse('GET', '/usage?group_by=product')).data.some((l) => l.product === 'fine_tuning' && l.trained_tokens === done.trained_tokens));
});
