import assert from 'node:assert/strict';
import test from 'node:test';
import OpenAI from 'openai';
import { administrator, client, collect, gatehouse, project } from './setup.mjs';

const limits = administrator().admin.organization.projects.rateLimits;
const unlimited = Number.MAX_SAFE_INTEGER;
const ask = (options) => client(options).chat.completions.create({ model: 'gpt-4o', messages: [{ role: 'user', content: 'Hi' }] });

test('a project has a row for each deployment', async () => {
  const rows = await collect(limits.listRateLimits(project, { limit: 50 }));
  assert.ok(rows.length > 100);
  assert.equal(new Set(rows.map((r) => r.id)).size, rows.length);
  assert.deepEqual(rows.find((r) => r.model === 'gpt-4o'), {
    object: 'project.rate_limit', id: 'rl-gpt-4o', model: 'gpt-4o', max_requests_per_1_minute: unlimited, max_tokens_per_1_minute: unlimited,
  });
});

test('a limit is set, seen in headers, waited for and taken away', async () => {
  const row = await limits.updateRateLimit('rl-gpt-4o', { project_id: project, max_requests_per_1_minute: 120, max_tokens_per_1_minute: 30000 });
  assert.deepEqual(row, { object: 'project.rate_limit', id: 'rl-gpt-4o', model: 'gpt-4o', max_requests_per_1_minute: 120, max_tokens_per_1_minute: 30000 });
  const { response } = await client().chat.completions.create({ model: 'gpt-4o', messages: [{ role: 'user', content: 'Hi' }] }).withResponse();
  assert.equal(response.headers.get('x-ratelimit-limit-requests'), '120');
  assert.equal(response.headers.get('x-ratelimit-remaining-requests'), '119');
  assert.equal(response.headers.get('x-ratelimit-reset-requests'), '500ms');
  assert.equal(response.headers.get('x-ratelimit-limit-tokens'), '30000');
  // Use up the rest; the SDK then waits as long as it is told and passes with one retry.
  await limits.updateRateLimit('rl-gpt-4o', { project_id: project, max_requests_per_1_minute: 60 });
  const refused = await Promise.all(Array.from({ length: 70 }, () => ask().then(() => null, (e) => e)));
  const errors = refused.filter((e) => e);
  assert.ok(errors.length >= 5);
  for (const e of errors) {
    assert.ok(e instanceof OpenAI.RateLimitError);
    assert.equal(e.code, 'rate_limit_exceeded');
    assert.equal(e.type, 'requests');
    assert.match(e.message, /Rate limit reached for gpt-4o in organization org-\S+ on requests per min \(RPM\): Limit 60, Used 60, Requested 1\. Please try again in \d+m?s/);
    const ms = Number(e.headers.get('retry-after-ms'));
    assert.ok(ms > 0 && ms <= 1000, `retry-after-ms ${ms}`);
  }
  await ask({ maxRetries: 1 });
  await assert.rejects(limits.updateRateLimit('rl-nothing', { project_id: project, max_requests_per_1_minute: 1 }), OpenAI.NotFoundError);
  await assert.rejects(limits.updateRateLimit('rl-gpt-4o', { project_id: project, max_requests_per_1_minute: 0 }), OpenAI.BadRequestError);
  await limits.updateRateLimit('rl-gpt-4o', { project_id: project, max_requests_per_1_minute: unlimited, max_tokens_per_1_minute: unlimited });
  assert.equal((await gatehouse('GET', '/limits')).data.length, 0);
  await ask();
});
