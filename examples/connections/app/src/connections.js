import { HttpError } from './errors.js';
import { parseConnection, parseId, parsePage } from './validation.js';

function present(row) {
  return {
    id: row.id,
    name: row.name,
    email: row.email,
    event: row.event,
    met_on: row.metOn.toISOString().slice(0, 10),
    created_at: row.createdAt.toISOString(),
  };
}

export async function createConnection({ database, body }) {
  const row = await database.connection.create({ data: parseConnection(body) });
  return { status: 201, body: present(row), headers: { location: `/connections/${row.id}` } };
}

export async function listConnections({ database, query }) {
  const { limit, after } = parsePage(query);
  const rows = await database.connection.findMany({
    where: { id: { gt: after } },
    orderBy: { id: 'asc' },
    take: limit + 1,
  });
  const page = rows.slice(0, limit);
  return {
    status: 200,
    body: { connections: page.map(present), next_after: rows.length > limit ? page.at(-1).id : null },
  };
}

export async function readConnection({ database, params }) {
  const row = await database.connection.findUnique({ where: { id: parseId(params.id) } });
  if (!row) throw new HttpError(404, 'not_found', 'no such connection');
  return { status: 200, body: present(row) };
}
