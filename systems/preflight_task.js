// Runs inside a release's image: says which assumptions hold in there. It prints names and codes, and no value.
'use strict';
const { spawn } = require('node:child_process');
const { lookup } = require('node:dns/promises');
const http = require('node:http');
const net = require('node:net');

const task = JSON.parse(process.env.POINTSMAN_TASK);
delete process.env.POINTSMAN_TASK;
const say = (fact) => console.log(`${task.mark} ${JSON.stringify(fact)}`);

// The same judgement as in core/preflight/secret.py, by the same names.
function faultsOfAddress(address) {
  if (/^[ \t\r\n"']|[ \t\r\n"']$/.test(address)) return ['blank'];
  const found = /^(postgres(?:ql)?):\/\/(?:([^]*)@)?([^@]*)$/.exec(address);
  if (!found) return ['scheme'];
  const [, , credentials, rest] = found;
  if (credentials === undefined) return ['user', 'password'];
  const colon = credentials.indexOf(':');
  const user = colon < 0 ? credentials : credentials.slice(0, colon);
  const password = colon < 0 ? '' : credentials.slice(colon + 1);
  const faults = [];
  if (!user) faults.push('user');
  if (!password) faults.push('password');
  const written = /^(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*$/;
  if (!written.test(user) || !written.test(password)) faults.push('encoding');
  const slash = rest.indexOf('/');
  const place = slash < 0 ? rest : rest.slice(0, slash);
  const [path, query = ''] = (slash < 0 ? '' : rest.slice(slash)).split(/\?([^]*)/);
  const at = place.endsWith(']') ? -1 : place.lastIndexOf(':');
  const host = at < 0 ? place : place.slice(0, at);
  const port = at < 0 ? '' : place.slice(at + 1);
  if (!/^(?:[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])$/.test(host)) faults.push('host');
  if (!/^[0-9]{1,5}$/.test(port) || Number(port) < 1 || Number(port) > 65535) faults.push('port');
  if (!/^\/[^/?#\s]+$/.test(path)) faults.push('database');
  const schema = new URLSearchParams(query).getAll('schema');
  if (schema.length === 1 && schema[0] === '') faults.push('schema');
  return faults;
}

// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html
function taskRole() {
  const path = process.env.AWS_CONTAINER_CREDENTIALS_RELATIVE_URI;
  if (!path) return null;
  return new Promise((resolve) => {
    const asked = http.get({ host: '169.254.170.2', path, timeout: 3000 }, (answer) => {
      let text = '';
      answer.on('data', (data) => (text += data));
      answer.on('end', () => {
        try {
          resolve(JSON.parse(text).RoleArn ?? null);
        } catch {
          resolve(null);
        }
      });
    });
    asked.on('timeout', () => asked.destroy());
    asked.on('error', () => resolve(null));
  });
}

// https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL: S for TLS, N for none, '' for no answer.
function offersTls(host, port) {
  return new Promise((resolve) => {
    const socket = net.connect({ host, port });
    socket.setTimeout(5000, () => socket.destroy());
    socket.on('connect', () => socket.write(Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])));
    socket.on('data', (data) => {
      resolve(String.fromCharCode(data[0]));
      socket.destroy();
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(''));
  });
}

async function byDriver(url) {
  const { Client } = require(require.resolve('pg', { paths: [process.cwd()] }));
  const plain = new URL(url.href);
  plain.searchParams.delete('schema');
  const client = new Client({ connectionString: plain.href, connectionTimeoutMillis: 5000, query_timeout: 5000 });
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query('SELECT 1');
    return '';
  } finally {
    await client.end().catch(() => {});
  }
}

function byTool() {
  return new Promise((resolve) => {
    const [command, ...words] = task.tool;
    const child = spawn(command, [...words, 'db', 'execute', '--stdin', ...task.options], { stdio: 'pipe' });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += data));
    child.stdin.on('error', () => {});
    child.stdin.end('SELECT 1');
    child.on('error', () => resolve('no driver and no tool'));
    child.on('close', (code) => resolve(code === 0 ? '' : (/\bP\d{4}\b/.exec(output)?.[0] ?? `exit code ${code}`)));
  });
}

// What the server refuses has a code of five characters, which says more than its text may: that has the user's name.
async function login(url) {
  try {
    return await byDriver(url);
  } catch (error) {
    return /^[0-9A-Z]{5}$/.test(error.code ?? '') ? error.code : byTool();
  }
}

async function reach(address, tls) {
  const url = new URL(address);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (!(await lookup(host).catch(() => null))) return { reach: 'name' };
  const offered = await offersTls(host, Number(url.port || 5432));
  if (!offered) return { reach: 'port' };
  if (tls && offered !== 'S') return { reach: 'tls' };
  const code = await login(url);
  return code ? { reach: 'refused', detail: code } : { reach: 'login', detail: tls ? 'tls' : '' };
}

async function main() {
  say({ variables: Object.fromEntries(task.secrets.map((name) => [name, Boolean(process.env[name])])) });
  say({ role: await taskRole() });
  const address = process.env[task.variable];
  if (!address) return;
  const faults = faultsOfAddress(address);
  const tls = /[?&]sslmode=(?:require|verify-ca|verify-full)(?:&|$)/.test(address);
  say({ address: faults, tls });
  if (!faults.length) say(await reach(address, tls));
}

main()
  .catch(() => say({ detail: 'the script failed' }))
  .then(() => say({ end: 0 }));
