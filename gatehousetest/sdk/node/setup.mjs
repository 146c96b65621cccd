// What the scripts share: where the Gatehouse under test is, clients for it, and a guard that keeps them on this host. Each script is
// a set of node:test cases; the Go tests beside this folder start a Gatehouse and run the scripts against it.
import { appendFileSync } from 'node:fs';
import net from 'node:net';
import OpenAI from 'openai';

const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...args) {
  const options = Array.isArray(args[0]) ? args[0][0] : args[0];
  if (options.host !== '127.0.0.1') throw new Error(`refused to dial ${options.host}: a test may reach this host only`);
  return connect.apply(this, args);
};

const need = (name) => {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run this script through go test ./gatehousetest/sdk`);
  return value;
};

export const url = need('GATEHOUSE_URL');
export const baseURL = `${url}/v1`;
export const apiKey = need('GATEHOUSE_API_KEY');
export const adminAPIKey = need('GATEHOUSE_ADMIN_KEY');
export const organization = need('GATEHOUSE_ORGANIZATION');
export const project = need('GATEHOUSE_PROJECT');
export const azure = { endpoint: need('GATEHOUSE_AZURE_ENDPOINT'), apiKey: need('GATEHOUSE_AZURE_KEY'), deployment: need('GATEHOUSE_AZURE_DEPLOYMENT') };

// client returns OpenAI's own client as a user configures it, without retries unless options say otherwise.
export const client = (options = {}) => new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 20_000, ...options });

// administrator returns the client of somebody who administers. Which methods of it are called is noted, so that none is forgotten.
export const administrator = (options = {}) => {
  const made = new OpenAI({ baseURL, adminAPIKey, maxRetries: 0, timeout: 20_000, ...options });
  const file = process.env.GATEHOUSE_CALLED;
  if (file) eachMethod(made.admin.organization, [], (name, resource, method) => {
    const call = resource[method];
    resource[method] = (...args) => {
      appendFileSync(file, `called ${name}\n`);
      return call.apply(resource, args);
    };
    appendFileSync(file, `has ${name}\n`);
  });
  return made;
};

// eachMethod calls fn with every method of a resource and of those below it.
const eachMethod = (resource, path, fn) => {
  for (const method of Object.getOwnPropertyNames(Object.getPrototypeOf(resource))) {
    if (method !== 'constructor' && typeof resource[method] === 'function') fn([...path, method].join('.'), resource, method);
  }
  for (const [name, below] of Object.entries(resource)) {
    if (name !== '_client' && below?._client) eachMethod(below, [...path, name], fn);
  }
};

// collect reads a whole stream or an auto-paginating list.
export const collect = async (iterable) => {
  const all = [];
  for await (const element of iterable) all.push(element);
  return all;
};

// gatehouse calls what OpenAI's API has no endpoint for.
export const gatehouse = async (method, path, body) => {
  const response = await fetch(`${url}/gatehouse/v1${path}`, {
    method, headers: { authorization: `Bearer ${adminAPIKey}`, 'content-type': 'application/json' }, body: body && JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${JSON.stringify(answer)}`);
  return answer;
};

// newKey creates a key of the project's first user with restrictions that OpenAI's API cannot express.
export const newKey = async (restrictions) => {
  const users = await administrator().admin.organization.users.list();
  return gatehouse('POST', '/keys', { class: 'project', project_id: project, user_id: users.data[0].id, name: 'restricted', ...restrictions });
};
