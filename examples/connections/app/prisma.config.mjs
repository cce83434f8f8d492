import { defineConfig } from 'prisma/config';

export default defineConfig({
  schema: 'prisma/schema.prisma',
  experimental: { adapter: true },
  engine: 'js',
  adapter: async () => {
    const { MigrationAdapter } = await import('./prisma/migration-adapter.mjs');
    return new MigrationAdapter(process.env.DATABASE_URL);
  },
});
