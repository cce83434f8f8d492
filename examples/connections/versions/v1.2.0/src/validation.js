import { HttpError } from './errors.js';

const EMAIL = /^[^\s@]+@[^\s@]+\.[^\s@]+$/;
const DATE = /^\d{4}-\d{2}-\d{2}$/;

function text(value, max) {
  if (typeof value !== 'string' || value.trim() === '') return 'must be a non-empty string';
  return value.length > max ? `must have at most ${max} characters` : null;
}

function email(value) {
  return text(value, 254) ?? (EMAIL.test(value) ? null : 'must be an e-mail address');
}

function date(value) {
  if (typeof value !== 'string' || !DATE.test(value)) return 'must be a date like 2026-01-31';
  const parsed = new Date(`${value}T00:00:00Z`);
  const real = !Number.isNaN(parsed.getTime()) && parsed.toISOString().startsWith(value);
  return real ? null : 'is no day of the calendar';
}

const optional = (rule) => (value) => (value === undefined || value === null ? null : rule(value));

const CONNECTION = {
  name: (value) => text(value, 200),
  email,
  event: (value) => text(value, 200),
  met_on: date,
  company: optional((value) => text(value, 200)),
  note: optional((value) => text(value, 2_000)),
};

const FOLLOW_UP = {
  due_on: date,
  text: (value) => text(value, 2_000),
};

/** Checks a request body against rules by field name (each gives null or what is wrong); refuses unknown fields. */
function check(body, rules) {
  if (body === null || typeof body !== 'object' || Array.isArray(body)) {
    throw new HttpError(400, 'invalid_body', 'the body must be a JSON object');
  }
  const fields = {};
  for (const [name, rule] of Object.entries(rules)) {
    const problem = rule(body[name]);
    if (problem) fields[name] = problem;
  }
  for (const name of Object.keys(body)) {
    if (!Object.hasOwn(rules, name)) fields[name] = 'is not a known field';
  }
  if (Object.keys(fields).length > 0) throw new HttpError(422, 'invalid_fields', 'some fields are not valid', fields);
}

/** Body of POST /connections → data for the database. */
export function parseConnection(body) {
  check(body, CONNECTION);
  return {
    name: body.name.trim(),
    email: body.email.toLowerCase(),
    event: body.event.trim(),
    metOn: new Date(`${body.met_on}T00:00:00Z`),
    company: body.company?.trim() ?? null,
    note: body.note?.trim() ?? null,
  };
}

/** Body of POST /connections/:id/follow-ups → data for the database. */
export function parseFollowUp(body) {
  check(body, FOLLOW_UP);
  return { dueOn: new Date(`${body.due_on}T00:00:00Z`), text: body.text.trim() };
}

function integer(name, value, fallback, { min, max }) {
  if (value === null) return fallback;
  const number = /^\d{1,10}$/.test(value) ? Number(value) : NaN;
  if (!(number >= min && number <= max)) {
    const problem = `must be an integer from ${min} to ${max}`;
    throw new HttpError(400, 'invalid_parameter', `${name} ${problem}`, { [name]: problem });
  }
  return number;
}

const MAX_ID = 2 ** 31 - 1;

/** Query of a list → page size and the id after which the page begins. */
export function parsePage(query) {
  return {
    limit: integer('limit', query.get('limit'), 20, { min: 1, max: 100 }),
    after: integer('after', query.get('after'), 0, { min: 0, max: MAX_ID }),
  };
}

/** Query of the list of connections → the event they are from, or undefined for all. */
export function parseEvent(query) {
  const event = query.get('event');
  if (event === null) return undefined;
  const problem = text(event, 200);
  if (problem) throw new HttpError(400, 'invalid_parameter', `event ${problem}`, { event: problem });
  return event.trim();
}

/** Id in a path → number; anything else is answered as not found. */
export function parseId(value) {
  const id = /^\d{1,10}$/.test(value) ? Number(value) : 0;
  if (id < 1 || id > MAX_ID) throw new HttpError(404, 'not_found', 'no such connection');
  return id;
}
