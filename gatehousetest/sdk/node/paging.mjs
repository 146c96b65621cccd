import assert from 'node:assert/strict';
import test from 'node:test';
import { administrator, collect, gatehouse, project } from './setup.mjs';

const { organization: org } = administrator().admin;
const count = 43;

// make creates elements one after the other and returns their ids in that order.
const make = async (create) => {
  const ids = [];
  for (let i = 0; i < count; i++) ids.push(await create(`number ${i}`));
  return ids;
};

// whole checks that a list gives everything once, in one order, however large its pages are.
const whole = async (list, made) => {
  const all = (await collect(list({ limit: 100 }))).map((e) => e.id);
  assert.equal(new Set(all).size, all.length);
  for (const id of made) assert.ok(all.includes(id));
  for (const limit of [3, 4, 5, 6, 7]) assert.deepEqual((await collect(list({ limit }))).map((e) => e.id), all, `limit ${limit}`);
  const first = await list({});
  assert.equal(first.data.length, 20);
  assert.equal(first.has_more, true);
  const empty = await list({ after: all.at(-1) });
  assert.deepEqual(empty.data, []);
  assert.equal(empty.has_more, false);
};

test('projects', async () => {
  await whole((query) => org.projects.list(query), await make(async (name) => (await org.projects.create({ name })).id));
});

test('service accounts, and the keys of a project', async () => {
  const accounts = [];
  const keys = await make(async (name) => {
    const account = await org.projects.serviceAccounts.create(project, { name });
    accounts.push(account.id);
    return account.api_key.id;
  });
  await whole((query) => org.projects.serviceAccounts.list(project, query), accounts);
  await whole((query) => org.projects.apiKeys.list(project, query), keys);
  await whole((query) => org.projects.apiKeys.list(project, { ...query, owner_project_access: 'active' }), keys);
});

test('a filter that leaves out almost everything does not end the list early', async () => {
  const leaver = await gatehouse('POST', '/users', { name: 'Leaver', email: 'leaver@example.com', role: 'reader' });
  await org.projects.users.create(project, { user_id: leaver.id, role: 'member' });
  const key = await gatehouse('POST', '/keys', { class: 'project', project_id: project, user_id: leaver.id, name: 'left behind' });
  await make(async (name) => (await org.projects.serviceAccounts.create(project, { name })).id);
  const inactive = async () => (await collect(org.projects.apiKeys.list(project, { limit: 3, owner_project_access: 'inactive' }))).map((k) => k.id);
  assert.deepEqual(await inactive(), []);
  await org.projects.users.delete(leaver.id, { project_id: project });
  assert.deepEqual(await inactive(), [key.id]);
  assert.equal((await org.projects.apiKeys.retrieve(key.id, { project_id: project })).owner_project_access, 'inactive');
});

test('admin keys go by the id of their last element', async () => {
  const made = await make(async (name) => (await org.adminAPIKeys.create({ name })).id);
  await whole((query) => org.adminAPIKeys.list(query), made);
  const ascending = (await collect(org.adminAPIKeys.list({ limit: 5, order: 'asc' }))).map((k) => k.id);
  const descending = (await collect(org.adminAPIKeys.list({ limit: 4, order: 'desc' }))).map((k) => k.id);
  assert.deepEqual(ascending.toReversed(), descending);
  assert.deepEqual(ascending.filter((id) => made.includes(id)), made);
});
