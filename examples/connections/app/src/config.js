function integer(name, fallback, { min, max }) {
  const text = process.env[name];
  if (text === undefined || text === '') return fallback;
  const value = Number(text);
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new Error(`${name} must be an integer from ${min} to ${max}, got "${text}"`);
  }
  return value;
}

/** Reads the settings from the environment; throws with the name of the one that is wrong. */
export function readConfig() {
  const databaseUrl = process.env.DATABASE_URL;
  if (!databaseUrl) throw new Error('DATABASE_URL is not set');
  return {
    databaseUrl,
    port: integer('PORT', 8080, { min: 1, max: 65535 }),
    poolSize: integer('DATABASE_POOL_SIZE', 5, { min: 1, max: 100 }),
    connectTimeoutMs: integer('DATABASE_CONNECT_TIMEOUT_MS', 2_000, { min: 100, max: 60_000 }),
    queryTimeoutMs: integer('DATABASE_QUERY_TIMEOUT_MS', 5_000, { min: 100, max: 60_000 }),
    shutdownTimeoutMs: integer('SHUTDOWN_TIMEOUT_MS', 10_000, { min: 0, max: 60_000 }),
    release: {
      version: process.env.POINTSMAN_VERSION ?? 'unknown',
      revision: process.env.POINTSMAN_REVISION ?? 'unknown',
      colour: process.env.POINTSMAN_COLOUR ?? 'unknown',
    },
  };
}
