import assert from 'node:assert/strict';
import test from 'node:test';
import OpenAI, { toFile } from 'openai';
import { administrator, client, collect, gatehouse, newKey, organization, project } from './setup.mjs';

const { organization: org } = administrator({ organization, project }).admin; // both headers come with admin calls too
const now = Math.floor(Date.now() / 1000);
const ask = { model: 'gpt-4o', messages: [{ role: 'user', content: 'Hi' }] };

test('projects', async () => {
  const made = await org.projects.create({ name: 'Alpha' });
  assert.match(made.id, /^proj_/);
  assert.ok(made.created_at >= now - 5);
  const { object, name, status, archived_at } = made;
  assert.deepEqual({ object, name, status, archived_at }, { object: 'organization.project', name: 'Alpha', status: 'active', archived_at: null });
  assert.equal((await org.projects.retrieve(made.id)).name, 'Alpha');
  assert.equal((await org.projects.update(made.id, { name: 'Beta' })).name, 'Beta');
  assert.ok((await collect(org.projects.list())).some((p) => p.id === made.id && p.name === 'Beta'));
  const archived = await org.projects.archive(made.id);
  assert.equal(archived.status, 'archived');
  assert.ok(archived.archived_at >= made.created_at);
  assert.ok(!(await collect(org.projects.list())).some((p) => p.id === made.id));
  assert.ok((await collect(org.projects.list({ include_archived: true }))).some((p) => p.id === made.id));
  await assert.rejects(org.projects.update(made.id, { name: 'Gamma' }), OpenAI.BadRequestError);
  await assert.rejects(org.projects.serviceAccounts.create(made.id, { name: 'late' }), OpenAI.BadRequestError);
});

test('an archived project\'s keys stop', async () => {
  const made = await org.projects.create({ name: 'Short' });
  const account = await org.projects.serviceAccounts.create(made.id, { name: 'bot' });
  const its = client({ apiKey: account.api_key.value });
  assert.ok(await its.chat.completions.create(ask));
  await org.projects.archive(made.id);
  await assert.rejects(its.chat.completions.create(ask), OpenAI.AuthenticationError);
});

test('service accounts and their keys', async () => {
  const { serviceAccounts, apiKeys } = org.projects;
  const made = await serviceAccounts.create(project, { name: 'robot' });
  assert.match(made.id, /^svc_acct_/);
  assert.equal(made.object, 'organization.project.service_account');
  assert.equal(made.role, 'member');
  assert.equal(made.api_key.object, 'organization.project.service_account.api_key');
  assert.equal(made.api_key.expires_at, null);
  assert.match(made.api_key.value, /^sk-svcacct-gtk/);
  assert.ok(await client({ apiKey: made.api_key.value }).chat.completions.create(ask));

  const bare = await serviceAccounts.create(project, { name: 'bare', create_service_account_only: true });
  assert.equal(bare.api_key, null);
  await assert.rejects(serviceAccounts.create(project, { name: 'x', create_service_account_only: true, expires_in_seconds: 60 }), OpenAI.BadRequestError);

  assert.equal((await serviceAccounts.retrieve(made.id, { project_id: project })).name, 'robot');
  assert.equal((await serviceAccounts.update(made.id, { project_id: project, name: 'droid' })).name, 'droid');
  assert.ok((await collect(serviceAccounts.list(project))).some((a) => a.id === made.id && a.name === 'droid'));

  const second = await serviceAccounts.apiKeys.create(made.id, { project_id: project, name: 'second', scopes: ['model.request'], expires_in_seconds: 3600 });
  assert.equal(second.name, 'second');
  assert.ok(second.expires_at >= now + 3595);
  assert.ok(await client({ apiKey: second.value }).chat.completions.create(ask));
  const listed = (await collect(apiKeys.list(project))).filter((k) => k.owner.service_account?.id === made.id);
  assert.equal(listed.length, 2);
  assert.equal(listed[0].owner.type, 'service_account');
  assert.equal(listed[0].owner.user, undefined);

  const gone = await apiKeys.delete(second.id, { project_id: project });
  assert.deepEqual(gone, { object: 'organization.project.api_key.deleted', id: second.id, deleted: true });
  await assert.rejects(client({ apiKey: second.value }).chat.completions.create(ask), OpenAI.AuthenticationError);
  assert.ok(await client({ apiKey: made.api_key.value }).chat.completions.create(ask));

  assert.equal((await serviceAccounts.delete(made.id, { project_id: project })).deleted, true);
  await assert.rejects(client({ apiKey: made.api_key.value }).chat.completions.create(ask), OpenAI.AuthenticationError);
  await assert.rejects(serviceAccounts.retrieve(made.id, { project_id: project }), OpenAI.NotFoundError);
});

test('project keys', async () => {
  const { apiKeys } = org.projects;
  const key = await newKey({ name: 'mine' });
  const found = await apiKeys.retrieve(key.id, { project_id: project });
  assert.equal(found.object, 'organization.project.api_key');
  assert.equal(found.name, 'mine');
  assert.equal(found.owner_project_access, 'active');
  assert.equal(found.owner.type, 'user');
  assert.match(found.owner.user.id, /^user-/);
  assert.equal(found.last_used_at, null);
  assert.equal(found.expires_at, null);
  assert.ok(found.redacted_value.startsWith('sk-proj-') && !JSON.stringify(found).includes(key.value));

  await apiKeys.update(key.id, { project_id: project, scopes: ['api.all.read'] });
  const its = client({ apiKey: key.value });
  await assert.rejects(its.chat.completions.create(ask), OpenAI.AuthenticationError);
  const updated = await apiKeys.update(key.id, { project_id: project, scopes: [], expires_in_seconds: 3600 });
  assert.ok(updated.expires_at >= now + 3595);
  assert.ok(await its.chat.completions.create(ask));
  await assert.rejects(apiKeys.update(key.id, { project_id: project }), OpenAI.BadRequestError);

  for (const [access, there] of [['active', true], ['any', true], ['inactive', false]]) {
    const listed = await collect(apiKeys.list(project, { owner_project_access: access }));
    assert.equal(listed.some((k) => k.id === key.id), there, access);
    assert.ok(access === 'any' || listed.every((k) => k.owner_project_access === access));
  }
  await assert.rejects(apiKeys.list(project, { owner_project_access: 'sometimes' }), OpenAI.BadRequestError);

  await apiKeys.delete(key.id, { project_id: project });
  await assert.rejects(apiKeys.retrieve(key.id, { project_id: project }), OpenAI.NotFoundError);
  await assert.rejects(its.chat.completions.create(ask), OpenAI.AuthenticationError);
});

test('admin keys', async () => {
  const { adminAPIKeys } = org;
  const made = await adminAPIKeys.create({ name: 'ci', expires_in_seconds: 3600 });
  assert.equal(made.object, 'organization.admin_api_key');
  assert.match(made.value, /^sk-admin-gtk/);
  assert.ok(made.expires_at >= now + 3595);
  assert.equal(made.owner.type, 'user');
  assert.equal(made.owner.object, 'organization.user');
  const found = await adminAPIKeys.retrieve(made.id);
  assert.equal(found.name, 'ci');
  assert.equal(found.value, undefined);
  assert.equal((await adminAPIKeys.create({ name: 'forever' })).expires_at, null);
  assert.ok((await collect(adminAPIKeys.list())).some((k) => k.id === made.id));
  const another = administrator({ adminAPIKey: made.value }).admin.organization;
  assert.ok((await collect(another.projects.list())).length > 0);
  assert.deepEqual(await adminAPIKeys.delete(made.id), { id: made.id, object: 'organization.admin_api_key.deleted', deleted: true });
  await assert.rejects(another.projects.list(), OpenAI.AuthenticationError);
  await assert.rejects(adminAPIKeys.retrieve(made.id), OpenAI.NotFoundError);
});

test('a key that expires', async () => {
  const account = await org.projects.serviceAccounts.create(project, { name: 'brief', expires_in_seconds: 1 });
  assert.ok(account.api_key.expires_at >= now);
  const its = client({ apiKey: account.api_key.value });
  const deadline = Date.now() + 10_000;
  for (;;) {
    const err = await its.models.retrieve('gpt-4o').then(() => null, (e) => e);
    if (err) {
      assert.ok(err instanceof OpenAI.AuthenticationError);
      assert.equal(err.code, 'api_key_expired');
      break;
    }
    assert.ok(Date.now() < deadline, 'it never expires');
  }
  await assert.rejects(org.projects.apiKeys.update(account.api_key.id, { project_id: project, scopes: [] }), OpenAI.BadRequestError);
});

test('an admin key that may only read', async () => {
  const users = await org.users.list();
  const key = await gatehouse('POST', '/keys', { class: 'admin', user_id: users.data[0].id, name: 'auditor', scopes: ['api.management.read'] });
  const its = administrator({ adminAPIKey: key.value }).admin.organization;
  assert.ok((await collect(its.projects.list())).length > 0);
  for (const refused of [() => its.projects.create({ name: 'No' }), () => its.usage.completions({ start_time: now - 60 }), () => its.adminAPIKeys.delete(key.id)]) {
    await assert.rejects(refused(), (err) => err instanceof OpenAI.PermissionDeniedError && err.code === 'missing_scope' && /^req_/.test(err.requestID));
  }
});

test('a user\'s own key acts in the project its header names', async () => {
  const users = await org.users.list();
  const key = await gatehouse('POST', '/keys', { class: 'user', user_id: users.data[0].id, name: 'mine' });
  const other = await org.projects.create({ name: 'Other' });
  assert.ok(await client({ apiKey: key.value }).chat.completions.create(ask));
  assert.ok(await client({ apiKey: key.value, project }).chat.completions.create(ask));
  await org.projects.users.create(other.id, { user_id: users.data[0].id, role: 'member' }).catch(() => {});
  const inOther = client({ apiKey: key.value, project: other.id });
  const stored = await inOther.chat.completions.create({ ...ask, store: true });
  assert.equal((await inOther.chat.completions.retrieve(stored.id)).id, stored.id);
  await assert.rejects(client({ apiKey: key.value }).chat.completions.retrieve(stored.id), OpenAI.NotFoundError);
  await assert.rejects(client({ apiKey: key.value, project: 'proj_nobodymadethis' }).chat.completions.create(ask), { code: 'mismatched_project' });
});

test('what one project made does not exist for another', async () => {
  const other = await org.projects.create({ name: 'Stranger' });
  const stranger = client({ apiKey: (await org.projects.serviceAccounts.create(other.id, { name: 'bot' })).api_key.value });
  const mine = client();
  const response = await mine.responses.create({ model: 'gpt-4o', input: 'Hi' });
  const file = await mine.files.create({ file: await toFile(Buffer.from('mine'), 'a.txt'), purpose: 'user_data' });
  const conversation = await mine.conversations.create({});
  for (const refused of [
    () => stranger.responses.retrieve(response.id), () => stranger.responses.delete(response.id), () => stranger.responses.create({ model: 'gpt-4o', input: 'Hi', previous_response_id: response.id }),
    () => stranger.responses.create({ model: 'gpt-4o', input: 'Hi', conversation: conversation.id }), () => stranger.conversations.retrieve(conversation.id),
    () => stranger.files.retrieve(file.id), () => stranger.files.content(file.id), () => stranger.files.delete(file.id),
    () => stranger.responses.create({ model: 'gpt-4o', input: [{ role: 'user', content: [{ type: 'input_file', file_id: file.id }] }] }),
  ]) await assert.rejects(refused(), OpenAI.NotFoundError);
  assert.deepEqual(await collect(stranger.files.list()), []);
  assert.ok(await mine.responses.create({ model: 'gpt-4o', input: [{ role: 'user', content: [{ type: 'input_file', file_id: file.id }] }] }));
});

test('the last admin key stays', async () => {
  const mine = (await gatehouse('GET', '/whoami')).key_id;
  for (const key of await collect(org.adminAPIKeys.list())) {
    if (key.id !== mine) await org.adminAPIKeys.delete(key.id);
  }
  await assert.rejects(org.adminAPIKeys.delete(mine), (err) => err instanceof OpenAI.ConflictError && err.code === 'last_admin_key' && err.headers.get('x-should-retry') === 'false');
  assert.deepEqual((await collect(org.adminAPIKeys.list())).map((k) => k.id), [mine]);
});

test('audit logs', async () => {
  const made = await org.projects.create({ name: 'Watched' });
  for (let i = 0; i < 24; i++) await org.projects.update(made.id, { name: `Watched ${i}` });
  const of = { project_ids: [made.id] };
  const entries = await collect(org.auditLogs.list({ ...of, limit: 7 }));
  assert.equal(entries.length, 25);
  assert.equal(new Set(entries.map((e) => e.id)).size, 25);
  const [first] = await collect(org.auditLogs.list({ ...of, event_types: ['project.created'] }));
  assert.equal(first['project.created'].id, made.id);
  assert.equal(first['project.created'].data.name, 'Watched');
  assert.equal(first.actor.type, 'api_key');
  assert.match(first.actor.api_key.user.id, /^user-/);
  assert.deepEqual(first.project, { id: made.id, name: 'Watched 23' });
  const page = await org.auditLogs.list({ ...of, limit: 3, before: entries[5].id });
  assert.deepEqual(page.data.map((e) => e.id), entries.slice(2, 5).map((e) => e.id));
  assert.equal((await collect(org.auditLogs.list({ ...of, effective_at: { gt: now + 3600 } }))).length, 0);
  assert.equal((await collect(org.auditLogs.list({ ...of, effective_at: { gte: now - 60 }, actor_ids: [first.actor.api_key.id] }))).length, 25);
  assert.equal((await collect(org.auditLogs.list({ resource_ids: [made.id], actor_ids: ['user-nobody'] }))).length, 0);
});

test('what a project may do', async () => {
  const { id } = await org.projects.create({ name: 'Restricted' });
  const { modelPermissions: models, hostedToolPermissions: tools, dataRetention } = org.projects;
  assert.deepEqual(await models.retrieve(id), { object: 'project.model_permissions', mode: 'deny_list', model_ids: [] });
  assert.deepEqual(await models.update(id, { mode: 'allow_list', model_ids: ['gpt-4o', 'o3'] }), { object: 'project.model_permissions', mode: 'allow_list', model_ids: ['gpt-4o', 'o3'] });
  assert.deepEqual((await models.retrieve(id)).model_ids, ['gpt-4o', 'o3']);
  await assert.rejects(models.update(id, { mode: 'some', model_ids: [] }), (e) => e instanceof OpenAI.BadRequestError && e.param === 'mode');
  await assert.rejects(models.update(id, { mode: 'allow_list' }), (e) => e instanceof OpenAI.BadRequestError && e.param === 'model_ids');

  const on = { enabled: true }, off = { enabled: false };
  assert.deepEqual(await tools.retrieve(id), { file_search: on, web_search: on, image_generation: on, mcp: on, code_interpreter: on });
  assert.deepEqual(await tools.update(id, { web_search: off, mcp: off, file_search: null }), { file_search: on, web_search: off, image_generation: on, mcp: off, code_interpreter: on });
  assert.deepEqual(await tools.update(id, { mcp: on }), { file_search: on, web_search: off, image_generation: on, mcp: on, code_interpreter: on });

  assert.deepEqual(await dataRetention.retrieve(id), { object: 'project.data_retention', type: 'organization_default' });
  assert.deepEqual(await dataRetention.update(id, { retention_type: 'zero_data_retention' }), { object: 'project.data_retention', type: 'zero_data_retention' });
  assert.deepEqual(await org.dataRetention.retrieve(), { object: 'organization.data_retention', type: 'modified_abuse_monitoring' });
  assert.deepEqual(await org.dataRetention.update({ retention_type: 'enhanced_zero_data_retention' }), { object: 'organization.data_retention', type: 'enhanced_zero_data_retention' });
  await assert.rejects(org.dataRetention.update({ retention_type: 'none' }), (e) => e instanceof OpenAI.BadRequestError && e.param === 'retention_type');
  await org.dataRetention.update({ retention_type: 'modified_abuse_monitoring' });

  // A service account's key feels it.
  const made = await org.projects.serviceAccounts.create(id, { name: 'robot' });
  const caller = client({ apiKey: made.api_key.value });
  const ask = (body) => caller.responses.create({ model: 'gpt-4o', input: 'x', ...body });
  assert.ok((await ask({})).id);
  await assert.rejects(ask({ model: 'gpt-4o-mini' }), (e) => e instanceof OpenAI.PermissionDeniedError && e.code === 'model_not_found');
  await assert.rejects(ask({ tools: [{ type: 'web_search' }] }), (e) => e instanceof OpenAI.PermissionDeniedError && e.code === 'hosted_tool_not_allowed' && e.param === 'tools');
  assert.deepEqual(await models.delete(id), { object: 'project.model_permissions.deleted', deleted: true });
  assert.ok((await ask({ model: 'gpt-4o-mini' })).id);
  const [change] = await collect(org.auditLogs.list({ project_ids: [id], event_types: ['project.updated'] }));
  assert.deepEqual(change['project.updated'].changes_requested.model_permissions, null);
  assert.deepEqual(change.gatehouse.before.model_permissions.model_ids, ['gpt-4o', 'o3']);
});

test('service tiers of a project', async () => {
  const made = await org.projects.create({ name: 'Tiers' });
  const { serviceTierSettings: tiers } = org.projects;
  assert.deepEqual(await tiers.retrieve(made.id), { object: 'project.service_tier_settings', default: 'standard', enabled_tiers: 'all' });
  assert.deepEqual(await tiers.update(made.id, { enabled_tiers: ['fast', 'flex'] }), { object: 'project.service_tier_settings', default: 'standard', enabled_tiers: ['flex', 'fast'] });
  assert.deepEqual(await tiers.update(made.id, { default: 'fast' }), { object: 'project.service_tier_settings', default: 'fast', enabled_tiers: ['flex', 'fast'] });
  await assert.rejects(tiers.update(made.id, { enabled_tiers: ['flex'] }), (e) => e instanceof OpenAI.BadRequestError && e.param === 'default');
  await assert.rejects(tiers.update(made.id, { enabled_tiers: ['warp'] }), (e) => e instanceof OpenAI.BadRequestError && e.param === 'enabled_tiers');
  await assert.rejects(tiers.update(made.id, { default: 'slow' }), (e) => e instanceof OpenAI.BadRequestError && e.param === 'default');
  await assert.rejects(tiers.update(made.id, {}), OpenAI.BadRequestError);
  const robot = await org.projects.serviceAccounts.create(made.id, { name: 'robot' });
  const caller = client({ apiKey: robot.api_key.value });
  assert.ok((await caller.responses.create({ model: 'gpt-4o', input: 'x', service_tier: 'flex' })).id);
  await tiers.update(made.id, { default: 'standard', enabled_tiers: [] });
  await assert.rejects(caller.responses.create({ model: 'gpt-4o', input: 'x', service_tier: 'flex' }), (e) => e instanceof OpenAI.BadRequestError && e.param === 'service_tier' && e.code === 'service_tier_not_allowed');
  assert.equal((await tiers.update(made.id, { enabled_tiers: 'all' })).enabled_tiers, 'all');
});

test('certificates', async () => {
  const pems = JSON.parse(process.env.GATEHOUSE_CERTIFICATES);
  const { certificates } = org;
  const made = [];
  for (const [i, certificate] of pems.entries()) made.push(await certificates.create(i ? { certificate, name: `c${i}` } : { certificate }));
  assert.deepEqual([made[0].object, made[0].name, made[1].name, made[0].active], ['certificate', null, 'c1', undefined]);
  assert.ok(made[0].certificate_details.expires_at > made[0].certificate_details.valid_at);
  await assert.rejects(certificates.create({ certificate: pems[0] }), OpenAI.ConflictError);
  await assert.rejects(certificates.create({ certificate: 'no certificate' }), (e) => e instanceof OpenAI.BadRequestError && e.param === 'certificate');
  assert.equal((await certificates.retrieve(made[2].id, { include: ['content'] })).certificate_details.content, pems[2]);
  assert.equal((await certificates.retrieve(made[2].id)).certificate_details.content, undefined);
  assert.equal((await certificates.update(made[0].id, { name: 'first' })).name, 'first');
  assert.deepEqual((await collect(certificates.list({ limit: 2, order: 'asc' }))).map((c) => [c.id, c.active]), made.map((c) => [c.id, false]));
  assert.deepEqual((await collect(certificates.list({ limit: 3 }))).map((c) => c.id), made.map((c) => c.id).reverse());

  const { id } = await org.projects.create({ name: 'Mutual' });
  const { api_key } = await org.projects.serviceAccounts.create(id, { name: 'robot' });
  const caller = client({ apiKey: api_key.value });
  const two = [made[0].id, made[1].id];
  const on = await collect(org.projects.certificates.activate(id, { certificate_ids: two }));
  assert.deepEqual(on.map((c) => [c.id, c.object, c.active]), two.map((c) => [c, 'organization.project.certificate', true]));
  assert.deepEqual((await collect(org.projects.certificates.list(id, { limit: 2, order: 'asc' }))).map((c) => c.active), [true, true, false, false, false]);
  await assert.rejects(caller.responses.create({ model: 'gpt-4o', input: 'x' }), (e) => e instanceof OpenAI.AuthenticationError && e.code === 'client_certificate_required');
  await assert.rejects(certificates.delete(made[0].id), OpenAI.ConflictError);
  assert.deepEqual((await collect(org.projects.certificates.deactivate(id, { certificate_ids: two }))).map((c) => c.active), [false, false]);
  assert.ok((await caller.responses.create({ model: 'gpt-4o', input: 'x' })).id);

  assert.deepEqual((await collect(certificates.activate({ certificate_ids: [made[4].id] }))).map((c) => [c.object, c.active]), [['organization.certificate', true]]);
  await assert.rejects(caller.responses.create({ model: 'gpt-4o', input: 'x' }), OpenAI.AuthenticationError);
  assert.deepEqual((await collect(certificates.deactivate({ certificate_ids: [made[4].id] }))).map((c) => c.active), [false]);
  await assert.rejects(certificates.activate({ certificate_ids: [] }), (e) => e instanceof OpenAI.BadRequestError && e.param === 'certificate_ids');
  for (const { id } of made) assert.deepEqual({ ...(await certificates.delete(id)), deleted: undefined }, { object: 'certificate.deleted', id, deleted: undefined });
  const [event] = await collect(org.auditLogs.list({ event_types: ['certificates.activated'], project_ids: [id] }));
  assert.deepEqual(event['certificates.activated'].certificates.map((c) => c.id), two);
  assert.equal((await collect(org.auditLogs.list({ event_types: ['certificate.deleted'] })))[0]['certificate.deleted'].certificate, pems[4]);
});

test('workload identity', async () => {
  const { workloadIdentityProviders: providers } = org;
  const { federationRules: rules } = providers;
  const made = [];
  for (const name of ['a', 'b', 'c']) made.push(await providers.create({ name, type: 'oidc', issuer: `https://${name}.example.com`, audience: 'gatehouse' }));
  assert.deepEqual({ ...made[0], id: '', created_at: 0, updated_at: 0 }, { object: 'organization.workload_identity_provider', id: '', name: 'a', type: 'oidc', issuer: 'https://a.example.com', audience: 'gatehouse',
    description: null, enabled: true, created_at: 0, updated_at: 0, attribute_transformations: [], verification: { type: 'discovery', discovery_url: null } });
  assert.deepEqual(await providers.retrieve(made[0].id), made[0]);
  assert.deepEqual((await collect(providers.list({ limit: 2, order: 'asc' }))).map((p) => p.id), made.map((p) => p.id));
  const jwks = { keys: [{ kty: 'EC', crv: 'P-256', kid: 'k', x: 'gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0', y: 'SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps' }] };
  const changed = await providers.update(made[1].id, { description: 'builds', enabled: false, attribute_transformations: [{ attribute: 'repo', expression: 'assertion.repository' }], verification: { type: 'uploaded_jwks', jwks } });
  assert.deepEqual([changed.description, changed.enabled, changed.attribute_transformations, changed.verification], ['builds', false, [{ attribute: 'repo', expression: 'assertion.repository' }], { type: 'uploaded_jwks', jwks }]);
  assert.equal((await providers.update(made[1].id, { description: null })).description, null);
  const bad = (call, param) => assert.rejects(call, (e) => e instanceof OpenAI.BadRequestError && e.param === param);
  await bad(providers.create({ name: 'x', type: 'oidc', issuer: 'http://plain.example.com', audience: 'a' }), 'issuer');
  await bad(providers.create({ name: 'x', type: 'saml', issuer: 'https://x.example.com', audience: 'a' }), 'type');
  await bad(providers.update(made[0].id, { verification: { type: 'uploaded_jwks', jwks: { keys: [{ ...jwks.keys[0], d: 'c2VjcmV0' }] } } }), 'verification.jwks');

  const { id: project_id } = await org.projects.create({ name: 'Federated' });
  const account = await org.projects.serviceAccounts.create(project_id, { name: 'robot', create_service_account_only: true });
  const other = await org.projects.serviceAccounts.create(project_id, { name: 'other', create_service_account_only: true });
  const body = { project_id, service_account_id: account.id, attribute_matchers: { sub: 'repo:acme/shop', attempt: 1, protected: true } };
  const of = { workload_identity_provider_id: made[0].id };
  const first = await rules.create(made[0].id, body);
  assert.deepEqual({ ...first, id: '', created_at: 0, updated_at: 0 }, { ...body, ...of, object: 'organization.workload_identity_federation_rule', id: '', enabled: true, name: null, description: null,
    permissions: { type: 'service_account_default' }, created_at: 0, updated_at: 0 });
  const second = await rules.create(made[0].id, { ...body, service_account_id: other.id, name: 'two', permissions: { type: 'restricted', scopes: ['api.responses.write'] } });
  assert.deepEqual(second.permissions, { type: 'restricted', scopes: ['api.responses.write'] });
  assert.deepEqual(await rules.retrieve(first.id, of), first);
  await assert.rejects(rules.retrieve(first.id, { workload_identity_provider_id: made[2].id }), OpenAI.NotFoundError);
  assert.deepEqual((await collect(rules.list(made[0].id, { limit: 1, order: 'asc' }))).map((r) => r.id), [first.id, second.id]);
  assert.deepEqual((await collect(rules.list(made[0].id, { service_account_id: other.id }))).map((r) => r.id), [second.id]);
  const narrower = await rules.update(first.id, { ...of, attribute_matchers: { sub: 'repo:acme/shop:main' }, enabled: false, permissions: { type: 'restricted', scopes: ['model.request'] } });
  assert.deepEqual([narrower.attribute_matchers, narrower.enabled, narrower.permissions.scopes], [{ sub: 'repo:acme/shop:main' }, false, ['model.request']]);
  await bad(rules.create(made[0].id, { ...body, attribute_matchers: {} }), 'attribute_matchers');
  await bad(rules.create(made[0].id, { ...body, attribute_matchers: { sub: ['x'] } }), 'attribute_matchers');
  await bad(rules.create(made[0].id, { ...body, permissions: { type: 'restricted', scopes: ['api.users.write'] } }), 'permissions.scopes');
  await assert.rejects(rules.create(made[0].id, { ...body, service_account_id: 'svc_acct_none' }), OpenAI.NotFoundError);
  await assert.rejects(providers.delete(made[0].id), (e) => e instanceof OpenAI.ConflictError && e.code === 'provider_in_use');
  for (const r of [first, second]) assert.deepEqual(await rules.delete(r.id, of), { object: 'organization.workload_identity_federation_rule.deleted', id: r.id, deleted: true });
  for (const p of made) assert.deepEqual(await providers.delete(p.id), { object: 'organization.workload_identity_provider.deleted', id: p.id, deleted: true });
});

test('external keys and storage', async () => {
  const { externalKeys: keys, externalStorage: storage } = org;
  const aws = { type: 'aws', name: 'kms', role_arn: 'arn:aws:iam::123456789012:role/gatehouse', kms_arn: 'arn:aws:kms:eu-west-1:123456789012:key/abc', external_id: 'ext' };
  const azure = { type: 'azure', name: 'vault', tenant_id: '11111111-2222-3333-4444-555555555555', vault_uri: 'https://acme.vault.azure.net', key_name: 'k', purpose: 'psp_decryption' };
  const gcp = { type: 'gcp', name: 'ring', audience: 'a', kms_project_id: 'p', kms_key_location: 'l', kms_key_ring_name: 'r', kms_key_name: 'k', workload_identity_pool_id: 'pool', workload_identity_project_number: '42', workload_identity_provider_id: 'prov' };
  const made = [];
  for (const body of [aws, azure, gcp]) made.push(await keys.create(body));
  for (const [i, body] of [aws, azure, gcp].entries()) for (const [name, value] of Object.entries(body)) assert.equal(made[i][name], value);
  assert.deepEqual([made[0].object, made[0].api_project_ids], ['organization.external_key', []]);
  assert.deepEqual(await keys.retrieve(made[1].id), made[1]);
  assert.deepEqual((await collect(keys.list({ limit: 2, order: 'asc' }))).map((k) => k.id), made.map((k) => k.id));
  assert.deepEqual((await collect(keys.list({ purpose: 'psp_decryption' }))).map((k) => k.id), [made[1].id]);
  assert.equal((await keys.validate(made[0].id)).status, 'failed');
  const bad = (call, param) => assert.rejects(call, (e) => e instanceof OpenAI.BadRequestError && e.param === param);
  await bad(keys.create({ ...aws, role_arn: 'role' }), 'role_arn');
  await bad(keys.create({ ...aws, vault_uri: 'https://acme.vault.azure.net' }), 'vault_uri');
  await bad(keys.create({ ...azure, key_name: undefined }), 'key_name');
  await bad(keys.create({ ...aws, type: 'oci' }), 'type');
  for (const k of made) assert.equal((await keys.delete(k.id)).id, k.id);
  await assert.rejects(keys.retrieve(made[0].id), OpenAI.NotFoundError);

  const { id: project_id } = await org.projects.create({ name: 'Stored' });
  const provider = { type: 'aws', bucket: 'acme', role_arn: aws.role_arn };
  const bucket = await storage.create({ project_id, provider });
  assert.deepEqual([bucket.object, bucket.status, bucket.project_id, bucket.provider.bucket, bucket.provider.account_id], ['organization.external_storage', 'pending', project_id, 'acme', '123456789012']);
  const second = await storage.create({ project_id, provider: { type: 'oci', bucket: 'b', region: 'eu-frankfurt-1', tenancy_ocid: 'ocid1.tenancy.oc1..aaaa' } });
  assert.deepEqual((await collect(storage.list({ limit: 1, project_id, order: 'asc' }))).map((s) => s.id), [bucket.id, second.id]);
  assert.equal((await storage.validate(bucket.id)).status, 'unhealthy');
  assert.equal((await storage.retrieve(bucket.id)).status, 'unhealthy');
  await bad(storage.create({ project_id, provider: { type: 'azure', account_name: 'a' } }), 'provider.container');
  assert.deepEqual(await storage.delete(second.id), { object: 'organization.external_storage.deleted', id: second.id, deleted: true });
});

test('users and members', async () => {
  const names = ['Ann', 'Bo', 'Cy', 'Di', 'Ed', 'Flo', 'Gus'];
  const people = [];
  for (const name of names) people.push(await gatehouse('POST', '/users', { name, email: `${name.toLowerCase()}@example.com`, role: 'reader' }));
  const listed = (await collect(org.users.list({ limit: 3 }))).map((u) => u.id);
  for (const p of people) assert.ok(listed.includes(p.id));
  assert.equal(new Set(listed).size, listed.length);
  assert.deepEqual((await collect(org.users.list({ emails: ['BO@example.com', 'flo@example.com', 'nobody@example.com'] }))).map((u) => u.name), ['Bo', 'Flo']);

  const made = await org.projects.create({ name: 'Team' });
  const { users } = org.projects;
  const first = await users.create(made.id, { user_id: people[0].id, role: 'member' });
  const { object, id, name, email, role } = first;
  assert.deepEqual({ object, id, name, email, role }, { object: 'organization.project.user', id: people[0].id, name: 'Ann', email: 'ann@example.com', role: 'member' });
  assert.equal((await users.create(made.id, { email: 'Bo@example.com', role: 'owner' })).id, people[1].id);
  for (const p of people.slice(2)) await users.create(made.id, { user_id: p.id, role: 'viewer' });
  assert.deepEqual((await collect(users.list(made.id, { limit: 2 }))).map((m) => m.name), names);
  assert.equal((await users.retrieve(people[1].id, { project_id: made.id })).role, 'owner');
  assert.equal((await users.update(people[1].id, { project_id: made.id, role: 'viewer' })).role, 'viewer');
  assert.equal((await users.update(people[1].id, { project_id: made.id })).role, 'viewer');
  await assert.rejects(users.create(made.id, { email: 'nobody@example.com', role: 'member' }), OpenAI.NotFoundError);
  await assert.rejects(users.create(made.id, { role: 'member' }), (e) => e instanceof OpenAI.BadRequestError && e.param === 'user_id');
  await assert.rejects(users.update(people[1].id, { project_id: made.id, role: 'king' }), (e) => e instanceof OpenAI.BadRequestError && e.param === 'role');

  const ann = await org.users.retrieve(people[0].id);
  assert.deepEqual(ann.projects.data, [{ id: made.id, name: 'Team', role: 'member' }]);
  assert.deepEqual(ann.user, { object: 'user', id: ann.id, email: 'ann@example.com', name: 'Ann', picture: null, enabled: true, banned: false, banned_at: null });
  assert.equal(ann.api_key_last_used_at, null);
  const changed = await org.users.update(ann.id, { role: 'owner', technical_level: 'expert', developer_persona: 'platform' });
  assert.deepEqual([changed.role, changed.technical_level, changed.developer_persona], ['owner', 'expert', 'platform']);
  await assert.rejects(org.users.update(ann.id, { role: 'member' }), (e) => e instanceof OpenAI.BadRequestError && e.param === 'role');
  await assert.rejects(org.users.update(ann.id, { role_id: 'role_1' }), OpenAI.NotFoundError);

  assert.deepEqual(await users.delete(people[6].id, { project_id: made.id }), { object: 'organization.project.user.deleted', id: people[6].id, deleted: true });
  await assert.rejects(users.retrieve(people[6].id, { project_id: made.id }), OpenAI.NotFoundError);
  assert.deepEqual(await org.users.delete(people[5].id), { object: 'organization.user.deleted', id: people[5].id, deleted: true });
  await assert.rejects(org.users.retrieve(people[5].id), OpenAI.NotFoundError);
  assert.ok(!(await collect(users.list(made.id))).some((m) => m.id === people[5].id));
});

test('groups and roles', async () => {
  const { id } = await org.projects.create({ name: 'Guarded' });
  const roles = await collect(org.roles.list());
  assert.deepEqual(roles.map((r) => [r.name, r.predefined_role, r.resource_type]).slice(0, 2), [['owner', true, 'api.organization'], ['reader', true, 'api.organization']]);
  const auditor = await org.roles.create({ role_name: 'Auditor', permissions: ['api.audit_logs.read'] });
  assert.deepEqual([auditor.object, auditor.permissions, auditor.description], ['role', ['api.audit_logs.read'], null]);
  assert.deepEqual((await org.roles.update(auditor.id, { permissions: ['api.audit_logs.read', 'api.usage.read'], description: 'Looks.' })).permissions, ['api.audit_logs.read', 'api.usage.read']);
  assert.equal((await org.roles.retrieve(auditor.id)).description, 'Looks.');
  await assert.rejects(org.roles.create({ role_name: 'Bad', permissions: ['api.everything'] }), (e) => e instanceof OpenAI.BadRequestError && e.param === 'permissions');

  const groups = [];
  for (let i = 0; i < 7; i++) groups.push(await org.groups.create({ name: `group ${i}` }));
  assert.deepEqual((await collect(org.groups.list({ limit: 3 }))).map((g) => g.id), groups.map((g) => g.id));
  assert.deepEqual((await collect(org.groups.list({ limit: 2, order: 'desc' }))).map((g) => g.id), groups.map((g) => g.id).reverse());
  const ops = groups[0];
  assert.equal((await org.groups.update(ops.id, { name: 'Ops' })).name, 'Ops');
  assert.equal((await org.groups.retrieve(ops.id)).group_type, 'group');
  const people = [];
  for (const name of ['Rae', 'Sol', 'Tia']) people.push(await gatehouse('POST', '/users', { name, email: `${name.toLowerCase()}@guarded.example.com`, role: 'reader' }));
  for (const p of people) assert.equal((await org.groups.users.create(ops.id, { user_id: p.id })).user_id, p.id);
  assert.deepEqual((await collect(org.groups.users.list(ops.id, { limit: 2 }))).map((u) => u.name), ['Rae', 'Sol', 'Tia']);
  assert.equal((await org.groups.users.retrieve(people[0].id, { group_id: ops.id })).user_type, 'user');

  // In the organization.
  assert.equal((await org.groups.roles.create(ops.id, { role_id: auditor.id })).object, 'group.role');
  assert.equal((await org.users.roles.create(people[0].id, { role_id: auditor.id })).user.id, people[0].id);
  assert.deepEqual((await collect(org.groups.roles.list(ops.id))).map((r) => r.id), [auditor.id]);
  const through = (await collect(org.users.roles.list(people[0].id))).find((r) => r.id === auditor.id);
  assert.deepEqual(through.assignment_sources, [{ principal_id: people[0].id, principal_type: 'user' }, { principal_id: ops.id, principal_type: 'group' }]);
  assert.equal((await org.users.roles.retrieve(auditor.id, { user_id: people[0].id })).name, 'Auditor');
  assert.equal((await org.groups.roles.retrieve(auditor.id, { group_id: ops.id })).name, 'Auditor');
  assert.equal((await org.users.roles.delete(auditor.id, { user_id: people[0].id })).deleted, true);

  // A group's role in a project lets the group's users call models there, and no longer than it has it.
  const caller = await org.projects.roles.create(id, { role_name: 'Caller', permissions: ['model.request'] });
  assert.equal(caller.resource_type, 'api.project');
  assert.equal((await org.projects.roles.update(caller.id, { project_id: id, description: 'Calls models.' })).description, 'Calls models.');
  assert.equal((await org.projects.roles.retrieve(caller.id, { project_id: id })).description, 'Calls models.');
  assert.deepEqual((await collect(org.projects.roles.list(id, { limit: 2 }))).map((r) => r.name), ['owner', 'member', 'viewer', 'Caller']);
  const placed = await org.projects.groups.create(id, { group_id: ops.id, role: caller.id });
  assert.deepEqual([placed.object, placed.project_id, placed.group_id, placed.group_name], ['project.group', id, ops.id, 'Ops']);
  assert.deepEqual((await collect(org.projects.groups.list(id))).map((g) => g.group_id), [ops.id]);
  assert.equal((await org.projects.groups.retrieve(ops.id, { project_id: id })).group_name, 'Ops');
  const key = await gatehouse('POST', '/keys', { class: 'project', project_id: id, user_id: people[1].id, name: 'mine' });
  const sdk = client({ apiKey: key.value });
  const ask = () => sdk.chat.completions.create({ model: 'gpt-4o', messages: [{ role: 'user', content: 'x' }] });
  assert.ok((await ask()).id);
  await assert.rejects(sdk.files.list().then(collect), (e) => e instanceof OpenAI.AuthenticationError && e.code === 'missing_scope');
  assert.equal((await org.projects.groups.roles.create(ops.id, { project_id: id, role_id: 'role-api-project-viewer' })).role.name, 'viewer');
  await sdk.models.list().then(collect);
  assert.deepEqual((await collect(org.projects.groups.roles.list(ops.id, { project_id: id }))).map((r) => r.name).sort(), ['Caller', 'viewer']);
  assert.equal((await org.projects.groups.roles.retrieve('role-api-project-viewer', { project_id: id, group_id: ops.id })).name, 'viewer');
  assert.equal((await org.projects.groups.roles.delete('role-api-project-viewer', { project_id: id, group_id: ops.id })).deleted, true);
  assert.equal((await org.projects.users.roles.create(people[2].id, { project_id: id, role_id: caller.id })).role.id, caller.id);
  assert.equal((await org.projects.users.roles.retrieve(caller.id, { project_id: id, user_id: people[2].id })).assignment_sources.length, 2);
  assert.deepEqual((await collect(org.projects.users.roles.list(people[2].id, { project_id: id }))).map((r) => r.name), ['Caller']);
  assert.equal((await org.projects.users.roles.delete(caller.id, { project_id: id, user_id: people[2].id })).deleted, true);
  assert.equal((await org.groups.users.delete(people[1].id, { group_id: ops.id })).deleted, true);
  await assert.rejects(ask(), (e) => e instanceof OpenAI.AuthenticationError && e.code === 'owner_left_project');
  await org.groups.users.create(ops.id, { user_id: people[1].id });
  assert.ok((await ask()).id);
  assert.equal((await org.projects.groups.delete(ops.id, { project_id: id })).deleted, true);
  await assert.rejects(ask(), (e) => e.code === 'owner_left_project');
  assert.equal((await org.projects.roles.delete(caller.id, { project_id: id })).deleted, true);
  assert.equal((await org.groups.roles.delete(auditor.id, { group_id: ops.id })).deleted, true);
  assert.equal((await org.groups.delete(ops.id)).deleted, true);
  assert.equal((await org.roles.delete(auditor.id)).deleted, true);
  await assert.rejects(org.roles.retrieve(auditor.id), OpenAI.NotFoundError);
  const [made] = await collect(org.auditLogs.list({ event_types: ['role.created'], resource_ids: [auditor.id] }));
  assert.deepEqual(made['role.created'].permissions, ['api.audit_logs.read']);
});

test('invites', async () => {
  const made = [];
  for (const name of ['ivy', 'jon', 'kim', 'lee', 'mia']) made.push(await org.invites.create({ email: `${name}@invited.example.com`, role: 'reader', projects: [{ id: project, role: 'member' }] }));
  assert.deepEqual((await collect(org.invites.list({ limit: 2 }))).map((i) => i.id).filter((i) => made.some((m) => m.id === i)), made.map((i) => i.id));
  const { link, ...first } = made[0];
  assert.deepEqual(await org.invites.retrieve(first.id), first);
  assert.deepEqual([first.object, first.status, first.projects], ['organization.invite', 'pending', [{ id: project, role: 'member' }]]);
  assert.deepEqual(await org.invites.delete(made[4].id), { object: 'organization.invite.deleted', id: made[4].id, deleted: true });
  await assert.rejects(org.invites.retrieve(made[4].id), OpenAI.NotFoundError);
  const [address, token] = link.split('#');
  const answer = await (await fetch(address, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ token, name: 'Ivy' }) })).json();
  assert.equal(answer.user.email, 'ivy@invited.example.com');
  assert.ok(await client({ apiKey: answer.api_key.value, project }).chat.completions.create(ask));
  assert.equal((await org.invites.retrieve(first.id)).status, 'accepted');
});
