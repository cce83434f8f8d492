import { parseFollowUp, parseId, parsePage } from './validation.js';

function present(row) {
  return {
    id: row.id,
    connection_id: row.connectionId,
    due_on: row.dueOn.toISOString().slice(0, 10),
    text: row.text,
    created_at: row.createdAt.toISOString(),
  };
}

export async function createFollowUp({ database, params, body }) {
  const data = { connectionId: parseId(params.id), ...parseFollowUp(body) };
  return { status: 201, body: present(await database.followUp.create({ data })) };
}

export async function listFollowUps({ database, query }) {
  const { limit, after } = parsePage(query);
  const rows = await database.followUp.findMany({
    where: { id: { gt: after } },
    orderBy: { id: 'asc' },
    take: limit + 1,
  });
  const page = rows.slice(0, limit);
  return {
    status: 200,
    body: { follow_ups: page.map(present), next_after: rows.length > limit ? page.at(-1).id : null },
  };
}
