import assert from 'node:assert/strict';
import test from 'node:test';
import { administrator, client, collect, project } from './setup.mjs';

const openai = client();
const { usage } = administrator().admin.organization;
const start_time = Math.floor(Date.now() / 1000); // of today alone, also just after midnight
const ask = { model: 'gpt-4o', messages: [{ role: 'user', content: 'Say hello.' }] };

// sum adds up one number of every result of every bucket.
const sum = (page, name) => page.data.flatMap((b) => b.results).reduce((total, r) => total + r[name], 0);

test('completions: plain, streams and responses count what they said', async () => {
  const counted = [];
  counted.push((await openai.chat.completions.create(ask)).usage);
  const chunks = await collect(await openai.chat.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } }));
  counted.push(chunks.at(-1).usage);
  await collect(await openai.chat.completions.create({ ...ask, stream: true })); // the same text: as much as before
  counted.push(counted[1]);
  const response = (await openai.responses.create({ model: 'gpt-4o-mini', input: 'Say hello.' })).usage;
  counted.push({ prompt_tokens: response.input_tokens, completion_tokens: response.output_tokens });

  const page = await usage.completions({ start_time, bucket_width: '1d' });
  assert.equal(page.object, 'page');
  assert.equal(page.has_more, false);
  assert.equal(page.data[0].object, 'bucket');
  assert.equal(sum(page, 'num_model_requests'), 4);
  assert.equal(sum(page, 'input_tokens'), counted.reduce((n, u) => n + u.prompt_tokens, 0));
  assert.equal(sum(page, 'output_tokens'), counted.reduce((n, u) => n + u.completion_tokens, 0));
  const [only] = page.data.flatMap((b) => b.results);
  assert.equal(only.object, 'organization.usage.completions.result');
  for (const dimension of ['project_id', 'user_id', 'api_key_id', 'model', 'batch', 'service_tier']) assert.equal(only[dimension], null);

  const grouped = await usage.completions({ start_time, group_by: ['model', 'project_id'], project_ids: [project] });
  const results = grouped.data.flatMap((b) => b.results);
  assert.deepEqual(Object.fromEntries(results.map((r) => [r.model, r.num_model_requests])), { 'gpt-4o': 3, 'gpt-4o-mini': 1 });
  assert.ok(results.every((r) => r.project_id === project));
  assert.equal(sum(await usage.completions({ start_time, models: ['gpt-4o-mini', 'gpt-4'] }), 'num_model_requests'), 1);
  assert.equal(sum(await usage.completions({ start_time, project_ids: ['proj_another'] }), 'num_model_requests'), 0);
});

test('embeddings', async () => {
  const made = await openai.embeddings.create({ model: 'text-embedding-3-small', input: 'one two three' });
  const page = await usage.embeddings({ start_time, group_by: ['api_key_id'] });
  const [result] = page.data.flatMap((b) => b.results);
  assert.equal(result.object, 'organization.usage.embeddings.result');
  assert.equal(result.num_model_requests, 1);
  assert.equal(result.input_tokens, made.usage.prompt_tokens);
  assert.match(result.api_key_id, /^key_/);
});

test('a caller loops over pages of buckets', async () => {
  const query = { start_time: start_time - 9 * 3600, end_time: start_time + 3600, bucket_width: '1h', limit: 3 };
  const buckets = [];
  let pages = 0;
  for (let page; ; ) {
    const answer = await usage.completions({ ...query, page });
    buckets.push(...answer.data);
    pages++;
    if (!answer.has_more) break;
    page = answer.next_page;
  }
  assert.ok(pages >= 4);
  buckets.slice(1).forEach((b, i) => assert.equal(b.start_time, buckets[i].end_time));
  assert.equal(buckets.flatMap((b) => b.results).reduce((n, r) => n + r.num_model_requests, 0), 4);
});

test('every usage endpoint and costs answer, page by page, and agree', async () => {
  const from = start_time - 2 * 86400;
  const all = async (method, query) => {
    const results = [];
    let buckets = 0;
    for (let page; ; ) {
      const answer = await method({ ...query, start_time: from, limit: 1, ...(page ? { page } : {}) });
      buckets += answer.data.length;
      results.push(...answer.data.flatMap((b) => b.results));
      if (!answer.has_more) return { results, buckets };
      page = answer.next_page;
    }
  };
  for (const name of ['completions', 'decisions', 'embeddings', 'moderations', 'images', 'audioSpeeches', 'audioTranscriptions', 'vectorStores', 'codeInterpreterSessions', 'fileSearchCalls', 'webSearchCalls']) {
    const { buckets } = await all((q) => usage[name](q), { group_by: ['project_id'], project_ids: [project] });
    assert.equal(buckets, 3, name);
  }
  const nano = (results) => results.reduce((n, r) => n + Math.round(r.amount.value * 1e9), 0);
  const whole = nano((await all((q) => usage.costs(q), {})).results);
  assert.ok(whole > 0);
  for (const group_by of [['line_item'], ['project_id', 'api_key_id'], ['user_id', 'line_item']]) {
    const { results } = await all((q) => usage.costs(q), { group_by });
    assert.equal(nano(results), whole);
    assert.ok(results.every((r) => r.object === 'organization.costs.result' && r.amount.currency === 'usd'));
  }
  const items = (await all((q) => usage.costs(q), { group_by: ['line_item'], line_items: ['gpt-4o, output'] })).results;
  assert.deepEqual([...new Set(items.map((r) => `${r.line_item} ${r.quantity_unit}`))], ['gpt-4o, output tokens']);
});
