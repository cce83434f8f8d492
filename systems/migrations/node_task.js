// Runs inside the candidate's image: says which migrations the image holds and what the database's table says, and
// migrates only where both are exactly as expected. Every judgement is made by whoever reads what is said here.
// Before it stands the tool's part: `inImage` and `inTable`.
const { spawn } = require('node:child_process');
const { createHash } = require('node:crypto');
const { existsSync, readdirSync, readFileSync } = require('node:fs');
const { join } = require('node:path');

const task = JSON.parse(process.env.POINTSMAN_TASK);
delete process.env.POINTSMAN_TASK;

let child = null;
let stopped = false;
for (const signal of ['SIGTERM', 'SIGINT'])
  process.on(signal, () => {
    stopped = true;
    if (child) child.kill(signal);
    else process.exit(143);
  });

const sha256 = (data) => createHash('sha256').update(data).digest('hex');
const say = (fact) => console.log(`${task.mark} ${JSON.stringify(fact)}`);
const sayRows = (name, rows) => {
  if (!rows || !rows.length) say({ [name]: rows });
  // A container's log is cut into pieces of 16 KiB.
  for (let i = 0; rows && i < rows.length; i += 8) say({ [name]: rows.slice(i, i + 8) });
};

function run([command, ...args], input) {
  return new Promise((resolve) => {
    let output = '';
    child = spawn(command, args, { stdio: input === undefined ? 'inherit' : 'pipe' });
    child.on('error', (error) => resolve({ code: 127, output: String(error) }));
    child.on('close', (code, signal) => {
      child = null;
      resolve({ code: signal ? 128 : code, output });
    });
    if (input === undefined) return;
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += data));
    child.stdin.on('error', () => {});
    child.stdin.end(input);
  });
}

async function main() {
  const image = inImage();
  sayRows('image', image);
  const table = await inTable('before');
  const asExpected = sha256(JSON.stringify(image)) === task.image && sha256(JSON.stringify(table)) === task.table;
  const held = new Map(image);
  const agrees = (row) => row[3] || (row[2] && held.get(row[0]) === row[1]);
  if (!asExpected || stopped || !(task.judged || (table ?? []).every(agrees))) return 0;
  say({ migrating: true });
  const { code } = await run(task.command);
  console.log(); // a tool's last line need not have ended
  await inTable('after');
  return stopped ? 143 : code;
}

main()
  .catch((error) => {
    say({ unreadable: String(error.message ?? error) });
    return 1;
  })
  .then((code) => {
    say({ end: code });
    process.exitCode = code;
  });
