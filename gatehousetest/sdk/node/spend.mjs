import assert from 'node:assert/strict';
import test from 'node:test';
import OpenAI from 'openai';
import { administrator, client, collect, gatehouse, project } from './setup.mjs';

const { organization: org } = administrator().admin;
const channel = { type: 'email', recipients: ['finance@example.com'] };
const alert = { threshold_amount: 100000, currency: 'USD', interval: 'month', notification_channel: channel };

// The organization's and a project's calls differ in where the project stands.
const scopes = {
  organization: {
    limit: { retrieve: () => org.spendLimit.retrieve(), update: (body) => org.spendLimit.update(body), delete: () => org.spendLimit.delete() },
    alerts: {
      create: (body) => org.spendAlerts.create(body), retrieve: (id) => org.spendAlerts.retrieve(id), update: (id, body) => org.spendAlerts.update(id, body),
      list: (query) => org.spendAlerts.list(query), delete: (id) => org.spendAlerts.delete(id),
    },
  },
  project: {
    limit: { retrieve: () => org.projects.spendLimit.retrieve(project), update: (body) => org.projects.spendLimit.update(project, body), delete: () => org.projects.spendLimit.delete(project) },
    alerts: {
      create: (body) => org.projects.spendAlerts.create(project, body), retrieve: (id) => org.projects.spendAlerts.retrieve(id, { project_id: project }),
      update: (id, body) => org.projects.spendAlerts.update(id, { project_id: project, ...body }), list: (query) => org.projects.spendAlerts.list(project, query),
      delete: (id) => org.projects.spendAlerts.delete(id, { project_id: project }),
    },
  },
};

for (const [scope, { limit, alerts }] of Object.entries(scopes)) {
  test(`${scope}: spend limit`, async () => {
    await assert.rejects(limit.retrieve(), OpenAI.NotFoundError);
    await assert.rejects(limit.delete(), OpenAI.NotFoundError);
    const made = await limit.update({ threshold_amount: 10000, currency: 'USD', interval: 'month' });
    assert.deepEqual(made, { object: `${scope}.spend_limit`, threshold_amount: 10000, currency: 'USD', interval: 'month', enforcement: { status: 'inactive' } });
    assert.deepEqual(await limit.retrieve(), made);
    assert.equal((await limit.update({ threshold_amount: 1, currency: 'USD', interval: 'month' })).threshold_amount, 1);
    for (const body of [{}, { threshold_amount: 0, currency: 'USD', interval: 'month' }, { threshold_amount: 1, currency: 'EUR', interval: 'month' }, { threshold_amount: 1, currency: 'USD', interval: 'day' },
      { threshold_amount: 1, currency: 'USD', interval: 'month', budget: 5 }]) await assert.rejects(limit.update(body), OpenAI.BadRequestError);
    // It is a budget: the other face shows and changes the same.
    const budgets = (await gatehouse('GET', '/budgets')).data.filter((b) => b.kind === 'spend_limit');
    assert.equal(budgets.length, 1);
    assert.equal(budgets[0].scope, scope);
    await gatehouse('POST', `/budgets/${budgets[0].id}`, { amount_usd: '12.34' });
    assert.equal((await limit.retrieve()).threshold_amount, 1234);
    assert.deepEqual(await limit.delete(), { object: `${scope}.spend_limit.deleted`, deleted: true });
    await assert.rejects(limit.retrieve(), OpenAI.NotFoundError);
  });

  test(`${scope}: spend alerts`, async () => {
    const made = await alerts.create({ ...alert, notification_channel: { ...channel, subject_prefix: '[acme]' } });
    assert.match(made.id, /^alert_/);
    assert.deepEqual({ ...made, id: undefined }, { ...alert, id: undefined, object: `${scope}.spend_alert`, notification_channel: { ...channel, subject_prefix: '[acme]' } });
    assert.deepEqual(await alerts.retrieve(made.id), made);
    const changed = await alerts.update(made.id, { ...alert, threshold_amount: 5 });
    assert.equal(changed.threshold_amount, 5);
    assert.equal(changed.notification_channel.subject_prefix, undefined);
    assert.deepEqual(await alerts.delete(made.id), { id: made.id, object: `${scope}.spend_alert.deleted`, deleted: true });
    await assert.rejects(alerts.retrieve(made.id), OpenAI.NotFoundError);
    await assert.rejects(alerts.create({ ...alert, currency: 'EUR' }), OpenAI.BadRequestError);

    const ids = [];
    for (let i = 0; i < 23; i++) ids.push((await alerts.create({ ...alert, threshold_amount: i })).id);
    assert.deepEqual((await collect(alerts.list())).map((a) => a.id), ids);
    for (const n of [3, 4, 100]) assert.deepEqual((await collect(alerts.list({ limit: n }))).map((a) => a.id), ids);
    assert.deepEqual((await collect(alerts.list({ limit: 5, order: 'desc' }))).map((a) => a.id), ids.toReversed());
    const page = await alerts.list({ limit: 2, before: ids[10] });
    assert.deepEqual(page.data.map((a) => a.id), ids.slice(8, 10));
    const first = await alerts.list({ limit: 20 });
    assert.equal(first.has_more, true);
    assert.equal(first.last_id, ids[19]);
  });
}

test('a project\'s key sets nothing', async () => {
  const { organization } = client({ adminAPIKey: process.env.GATEHOUSE_API_KEY }).admin;
  await assert.rejects(organization.spendLimit.retrieve(), OpenAI.PermissionDeniedError);
  await assert.rejects(organization.spendLimit.update({ threshold_amount: 1, currency: 'USD', interval: 'month' }), OpenAI.PermissionDeniedError);
  await assert.rejects(organization.spendAlerts.create(alert), OpenAI.PermissionDeniedError);
});

// counted is a client that retries as it does by default, and says how often it asked.
const counted = () => {
  const count = { requests: 0 };
  const api = client({ maxRetries: 2, fetch: (...args) => { count.requests++; return fetch(...args); } });
  return { api, count };
};

const ask = (max_completion_tokens) => ({ model: 'gpt-4o-mini', max_completion_tokens, messages: [{ role: 'user', content: 'Hi' }] });

test('a spent budget is not tried again', async () => {
  const { api, count } = counted();
  const budget = await gatehouse('POST', '/budgets', { name: 'tiny', scope: 'project', subject: project, amount_usd: 0.000001, window: { period: 'total' } });
  try {
    for (const [stream, calls] of [[false, 1], [true, 2]]) {
      await assert.rejects(api.chat.completions.create({ ...ask(100), stream }), (e) => {
        assert.ok(e instanceof OpenAI.RateLimitError);
        assert.equal(e.code, 'project_spend_limit_exceeded');
        assert.equal(e.type, 'insufficient_quota');
        assert.equal(e.headers.get('x-should-retry'), 'false');
        assert.equal(e.headers.get('retry-after'), null);
        return true;
      });
      assert.equal(count.requests, calls);
    }
    await assert.rejects(api.responses.create({ model: 'gpt-4o-mini', input: 'Hi', max_output_tokens: 100 }), OpenAI.RateLimitError);
    await assert.rejects(api.embeddings.create({ model: 'text-embedding-3-small', input: 'Hi' }), OpenAI.RateLimitError);
    assert.equal(count.requests, 4);
  } finally {
    await gatehouse('DELETE', `/budgets/${budget.id}`);
  }
  assert.ok(await api.chat.completions.create(ask(100)));
});

test('a full budget is tried again', async () => {
  const { api, count } = counted();
  // Room for one of two at a time: what the first held and did not use comes back when it ends.
  const budget = await gatehouse('POST', '/budgets', { name: 'narrow', scope: 'project', subject: project, amount_usd: 0.002, window: { period: 'total' } });
  try {
    const first = await api.chat.completions.create({ ...ask(1500), stream: true });
    const second = api.chat.completions.create(ask(1500));
    for await (const _ of first);
    assert.ok((await second).choices.length);
    assert.ok(count.requests >= 2 && count.requests <= 4, `${count.requests} requests`);
  } finally {
    await gatehouse('DELETE', `/budgets/${budget.id}`);
  }
});
