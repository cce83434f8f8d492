import { PrismaPg } from '@prisma/adapter-pg';
import prisma from '@prisma/client';

/** Makes a client with a connection pool of its own; connects on first use. */
export function openDatabase({ databaseUrl, poolSize, connectTimeoutMs, queryTimeoutMs }) {
  const adapter = new PrismaPg({
    connectionString: databaseUrl,
    max: poolSize,
    connectionTimeoutMillis: connectTimeoutMs,
    query_timeout: queryTimeoutMs,
    idleTimeoutMillis: 60_000,
  });
  return new prisma.PrismaClient({ adapter });
}
