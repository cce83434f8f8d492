"""Repositories as texts by their paths, and a first file as a person would fill it in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from core.first_settings import Asked, FirstSettings, Repository, first_settings
from core.settings import EnvironmentSettings, parse_settings

ORIGIN = "git@github.com:acme/shop.git"
NODE = "FROM node:22-alpine\nWORKDIR /app\nCOPY . .\nCMD node server.js\n"

FASTAPI = {
    "Dockerfile": """\
FROM python:3.12-slim AS build
WORKDIR /srv
COPY pyproject.toml uv.lock ./
RUN pip install uv && uv sync --frozen

FROM python:3.12-slim AS runtime
WORKDIR /srv
COPY --from=build /srv/.venv /srv/.venv
COPY backend/alembic.ini ./
COPY backend/ ./
USER 1000
CMD ["uv", "run", "--no-sync", "uvicorn", "shop.main:app", "--host", "0.0.0.0", "--port", "8000"]
""",
    "pyproject.toml": '[project]\nname = "shop"\ndependencies = ["fastapi", "alembic"]\n',
    "backend/alembic.ini": "[alembic]\nscript_location = %(here)s/shop/migrations\n[loggers]\nkeys = root\n",
    "backend/shop/migrations/env.py": 'import os\nurl = os.environ["SHOP_DATABASE_URL"]\n',
    "backend/shop/migrations/versions/0001_first.py": 'revision = "0001"\n',
    "backend/shop/main.py": (
        "from fastapi import APIRouter, FastAPI\napp = FastAPI()\n"
        'router = APIRouter(prefix="/internal")\n\n@router.get("/healthz")\ndef healthz(): ...\n'
    ),
    "backend/tests/test_main.py": 'client.get("/up")\n',
    ".env.example": (
        "SHOP_DATABASE_URL=postgresql://shop:shop@localhost:5432/shop\nSTRIPE_API_KEY=\nLOG_LEVEL=info # or debug\n"
        "export GREETING=\"Hello, 'world'\"\nPUBLIC_HOST=http://localhost:8000\n# OPTIONAL=1\nAWS_REGION=eu-west-1\n"
    ),
}

MONOREPO = {
    "pnpm-workspace.yaml": "packages:\n  - apps/*\n",
    "package.json": '{"private": true, "workspaces": ["apps/*"]}',
    "apps/api/Dockerfile": """\
FROM node:22-alpine AS base
WORKDIR /repo
FROM base AS build
COPY pnpm-lock.yaml pnpm-workspace.yaml package.json ./
COPY apps/api apps/api
RUN --mount=type=secret,id=npmrc,target=/root/.npmrc pnpm install --filter api
FROM base AS dev
CMD ["pnpm", "dev"]
FROM base AS runner
ENV NODE_ENV=production PORT=4000
COPY --from=build /repo/apps/api/dist ./dist
COPY --from=build /repo/apps/api/prisma ./prisma
USER node
EXPOSE 4000 9229
CMD ["node", "dist/main.js"]
""",
    "pnpm-lock.yaml": "lockfileVersion: '9.0'\n",
    "apps/api/package.json": '{"name": "api", "scripts": {"start": "node dist/main.js"}}',
    "apps/api/prisma/schema/main.prisma": 'datasource db {\n  provider = "postgresql"\n  url = env("DATABASE_URL")\n'
    '  directUrl = env("DIRECT_URL")\n}\n',
    "apps/api/prisma/schema/user.prisma": "model User {\n  id Int @id\n}\n",
    "apps/api/prisma/schema/migrations/20260101_first/migration.sql": "SELECT 1;\n",
    "apps/api/prisma/schema/migrations/migration_lock.toml": 'provider = "postgresql"\n',
    "apps/api/src/health.controller.ts": "@Controller('health')\nexport class HealthController {}\n",
    "apps/api/src/main.ts": "app.setGlobalPrefix('api');\nawait app.listen(process.env.PORT ?? 4000);\n",
    "apps/api/.env.example": "DATABASE_URL=\nDIRECT_URL=\nJWT_SECRET=\nPORT=3001\n",
    "apps/web/Dockerfile": 'FROM node:22-alpine\nCOPY apps/web apps/web\nCMD ["next", "start"]\n',
    "apps/web/src/app/(site)/api/health/route.ts": "export const GET = () => new Response('ok');\n",
    "compose.yaml": """\
services:
  db:
    image: postgres:16
  api:
    build: {context: ., dockerfile: apps/api/Dockerfile, target: dev}
    ports: ["4000:4000"]
    environment:
      DATABASE_URL: postgres://u:p@db:5432/shop
      CACHE_HOST: db
""",
}


def repository(files: dict[str, str], **said: Any) -> Repository:
    return Repository(
        **{"name": "shop", "paths": tuple(files), "texts": files, "origin": ORIGIN, "branch": "main"} | said
    )


def first(files: dict[str, str], asked: Asked | None = None, **said: Any) -> FirstSettings:
    return first_settings(repository(files, **said), asked or Asked("production"))


def filled(stage: str, text: str) -> EnvironmentSettings:
    """What a person makes of the file, parsed as a release does."""
    return parse_settings(stage, fill(text))


def fill(text: str) -> str:
    for mark, value in (
        ("FILL-IN-ACCOUNT", "210987654321"),
        ("FILL-IN-REGION", "eu-central-1"),
        ("FILL-IN-NAMESPACE", "acme"),
        ("FILL-IN-OWNER/NAME", "acme/shop"),
        ("FILL-IN-ADDRESS/32", "203.0.113.10/32"),
        ('"FILL-IN-PORT"', "3000"),
    ):
        text = text.replace(mark, value)
    return re.sub(r"FILL-IN-([A-Z-]+)", lambda found: found.group(1).lower(), text)


def lay_out(folder: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder
