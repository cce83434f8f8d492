"""The base images for builds in the sandbox, of Node.js and of Python, also where no image can be pulled.

Limits: an imported image has this machine's interpreter and C library, a shell, a handful of tools, and no
package manager besides the language's own.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import stat
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import docker.errors

from core.errors import Permanent

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["NODE", "PYTHON", "Runtime", "ensure_base_image"]

FINGERPRINT_LABEL = "pointsman.base-image"
LOOKUP_SECONDS = 8.0

CA_PATH = "/etc/ssl/certs/ca-certificates.crt"
TOOLS = (  # noqa: SIM905
    "basename cat chmod chown cp cut date dirname echo env false find grep head id install ln ls mkdir mv"
    " openssl printf pwd readlink rm rmdir sed sh sleep sort tail test touch tr true uname uniq wc xargs"
).split()
TEXT_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1000::/home/node:/bin/sh\n"
    "nobody:x:65534:65534:nobody:/:/bin/false\n",
    "etc/group": "root:x:0:\nnode:x:1000:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
DIRECTORIES = {  # path: (mode, owner)
    **dict.fromkeys(("etc", "home", "usr", "usr/bin", "usr/lib", "usr/lib64", "var", "run"), (0o755, 0)),
    "root": (0o700, 0),
    "tmp": (0o1777, 0),
    "home/node": (0o755, 1000),
}
SYMLINKS = {"bin": "usr/bin", "sbin": "usr/bin", "usr/sbin": "bin", "lib": "usr/lib", "lib64": "usr/lib64"}


@dataclass(frozen=True)
class Runtime:
    """A language's base image: where it is pulled from, and how this machine makes one."""

    preferred: str
    files: Callable[[], dict[str, Path]]
    """Path in the image → file on this machine; raises Permanent, saying what to install."""
    command: str
    trusting: tuple[str, ...]
    """Variables by which it learns of a CA bundle."""
    links: Callable[[Mapping[str, Path]], dict[str, str]] = lambda _files: {}
    """Link in the image → what it points at."""


def ensure_base_image(docker_client: DockerClient, tag: str, runtime: Runtime) -> str:
    """Return the name of an image that builds can start from, making it as `tag` if it has to be made.

    A machine's own CA bundle (`NODE_EXTRA_CA_CERTS`) becomes part of it, so that installing packages works in builds.
    Raises Permanent, saying what to install, if no image can be had and the machine has not what makes one.
    """
    bundle = _machine_ca_bundle()
    preferred = _image_fingerprint(docker_client, runtime.preferred)
    if preferred is None:
        made = _image_fingerprint(docker_client, tag)
        if made is not None and made == _machine_fingerprint(runtime):
            return tag
        preferred = _pull(docker_client, runtime.preferred)
    if preferred is None:
        _import_from_machine(docker_client, tag, runtime)
        return tag
    return runtime.preferred if bundle is None else _add_ca_bundle(docker_client, runtime, tag, bundle)


def _machine_ca_bundle() -> Path | None:
    path = os.environ.get("NODE_EXTRA_CA_CERTS")
    return Path(path) if path and Path(path).is_file() else None


def _image_fingerprint(docker_client: DockerClient, image: str) -> str | None:
    """Label of a local image ("" if it has none), or None if there is no such image."""
    try:
        labels: dict[str, str] = docker_client.images.get(image).labels
    except docker.errors.ImageNotFound:
        return None
    return labels.get(FINGERPRINT_LABEL, "")


def _pull(docker_client: DockerClient, image: str) -> str | None:
    """Pull if the registry answers in LOOKUP_SECONDS: waits for a slow download, not for a dead network."""
    answered = threading.Event()

    def look_up() -> None:
        try:
            docker_client.images.get_registry_data(image)
            answered.set()
        except (docker.errors.DockerException, OSError):
            return

    lookup = threading.Thread(target=look_up, daemon=True, name="look-up-base-image")
    lookup.start()
    lookup.join(LOOKUP_SECONDS)
    if not answered.is_set():
        return None
    try:
        docker_client.images.pull(image, platform="linux/amd64")
    except docker.errors.APIError:
        return None
    return ""


def _add_ca_bundle(docker_client: DockerClient, runtime: Runtime, tag: str, bundle: Path) -> str:
    """Put a CA bundle on top of an image; skipped if `tag` already is this image with this bundle."""
    content = bundle.read_bytes()
    image_id = str(docker_client.images.get(runtime.preferred).id)
    fingerprint = hashlib.sha256(image_id.encode() + content).hexdigest()
    if _image_fingerprint(docker_client, tag) == fingerprint:
        return tag
    trusting = "".join(f"ENV {variable}={CA_PATH}\n" for variable in runtime.trusting)
    dockerfile = f"FROM {runtime.preferred}\nCOPY ca.crt {CA_PATH}\n{trusting}"
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        _add_bytes(archive, "ca.crt", content, 0o644)
        _add_bytes(archive, "Dockerfile", dockerfile.encode(), 0o644)
    context.seek(0)
    docker_client.images.build(
        fileobj=context, custom_context=True, tag=tag, labels={FINGERPRINT_LABEL: fingerprint}, rm=True
    )
    return tag


def _import_from_machine(docker_client: DockerClient, tag: str, runtime: Runtime) -> None:
    files = _machine_files(runtime)
    repository, _, name = tag.rpartition(":")
    with _layer(files, runtime.links(files)) as layer:
        docker_client.api.import_image_from_stream(
            iter(lambda: layer.read(1 << 20), b""),
            repository=repository or tag,
            tag=name if repository else "latest",
            changes=[
                "ENV PATH=/usr/local/bin:/usr/bin",
                *(f"ENV {variable}={CA_PATH}" for variable in runtime.trusting if CA_PATH in files),
                f'CMD ["{runtime.command}"]',
                f"LABEL {FINGERPRINT_LABEL}={_fingerprint(files)}",
            ],
        )
    if _image_fingerprint(docker_client, tag) is None:
        raise Permanent(f"The Docker engine took the image {tag} but does not list it", do="See the engine's log.")


def _machine_fingerprint(runtime: Runtime) -> str | None:
    """Fingerprint that an image imported now would carry, or None on a machine that cannot make one."""
    try:
        return _fingerprint(_machine_files(runtime))
    except Permanent:
        return None


def _machine_files(runtime: Runtime) -> dict[str, Path]:
    """Path in the image → file on this machine: the runtime, tools, their libraries and the CA bundle."""
    tools = {name: shutil.which(name) for name in TOOLS}
    files = {f"/usr/bin/{name}": Path(path).resolve() for name, path in tools.items() if path} | runtime.files()
    files |= _shared_libraries(path for name, path in files.items() if "/bin/" in name or name.endswith(".so"))
    bundle = _machine_ca_bundle() or Path(CA_PATH)
    if bundle.is_file():
        files[CA_PATH] = bundle.resolve()
    if Path("/etc/os-release").is_file():
        files["/etc/os-release"] = Path("/etc/os-release").resolve()
    return files


def _node_files() -> dict[str, Path]:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise Permanent(
            "There is no Node.js base image for builds",
            why=f"{NODE.preferred} can not be pulled, and this machine has no node and npm to make one of",
            do="Install both (Debian: apt-get install nodejs npm), or let the engine reach its registry.",
        )
    files = {"/usr/bin/node": Path(node).resolve()}
    npm_home = Path(npm).resolve().parents[1]
    # Debian's own packages keep npm's dependencies, and some of Node's, beside it in /usr/share/nodejs.
    for tree in (npm_home, Path("/usr/share/nodejs")):
        files |= {str(path): path.resolve() for path in tree.rglob("*") if path.is_file() and not _is_manual(path)}
    return files


def _node_links(files: Mapping[str, Path]) -> dict[str, str]:
    return {
        f"usr/bin/{name}": next(path for path in files if path.endswith(f"/npm/bin/{name}-cli.js"))
        for name in ("npm", "npx")
    }


NODE = Runtime("node:22-alpine", _node_files, "node", ("NODE_EXTRA_CA_CERTS",), _node_links)

# What a wheel may ask the machine for: https://peps.python.org/pep-0599/#the-manylinux2014-policy
_OF_WHEELS = (
    *("libc.so.6", "libdl.so.2", "libgcc_s.so.1", "libm.so.6", "libpthread.so.0", "libresolv.so.2", "librt.so.1"),
    *("libstdc++.so.6", "libutil.so.1", "libz.so.1"),
)
_LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "__pycache__"}


def _python_files() -> dict[str, Path]:
    """Return the interpreter that runs this, and its standard library: it finds that by its own place."""
    interpreter, library = Path(sys.executable).resolve(), Path(sysconfig.get_path("stdlib"))
    home = f"/usr/local/lib/{library.name}"
    files = {f"/usr/local/bin/{library.name}": interpreter}
    for path in library.rglob("*"):
        inside = path.relative_to(library)
        if path.is_file() and _LEFT_OUT.isdisjoint(inside.parts) and not inside.parts[0].startswith("config-"):
            files[f"{home}/{inside}"] = path.resolve()
    folders = {library.parent for library in _shared_libraries([interpreter]).values()}
    found = {name: folder / name for folder in folders for name in _OF_WHEELS if (folder / name).exists()}
    return files | {f"/usr/lib/{name}": path.resolve() for name, path in found.items()}


def _python_links(files: Mapping[str, Path]) -> dict[str, str]:
    [interpreter] = (path for path in files if path.startswith("/usr/local/bin/python"))
    return dict.fromkeys(("usr/local/bin/python3", "usr/local/bin/python"), interpreter)


PYTHON = Runtime("python:3.11-slim", _python_files, "python3", ("PIP_CERT", "SSL_CERT_FILE"), _python_links)


def _is_manual(path: Path) -> bool:
    return not {"docs", "man", "test"}.isdisjoint(path.parts)


def _shared_libraries(programs: Iterable[Path]) -> dict[str, Path]:
    """Path that the loader will ask for → library, for all libraries that `ldd` names."""
    command = ["ldd", *sorted({str(program) for program in programs})]
    listing = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    libraries: dict[str, Path] = {}
    for line in listing.splitlines():
        location = next((word for word in line.split() if word.startswith("/") and not word.endswith(":")), None)
        if location is not None:
            name = Path(location).name
            # ld-linux is asked for by its absolute path, all others by name in the default directories.
            folder = "/usr/lib64" if name.startswith("ld-linux-x86-64") else "/usr/lib"
            libraries[f"{folder}/{name}"] = Path(location).resolve()
    return libraries


def _fingerprint(files: dict[str, Path]) -> str:
    """Changes when a file that would be imported changes (path, size, time), or the recipe in this module."""
    facts = [
        (target, str(source), (status := source.stat()).st_size, status.st_mtime_ns)
        for target, source in sorted(files.items())
    ]
    recipe = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    return hashlib.sha256(json.dumps([recipe, facts]).encode()).hexdigest()


def _layer(files: dict[str, Path], links: Mapping[str, str]) -> io.BufferedRandom:
    """The image's one layer as an open tar file: sorted, without times, so equal files give equal layers."""
    layer = tempfile.TemporaryFile()  # noqa: SIM115
    with tarfile.open(fileobj=layer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path, (mode, owner) in DIRECTORIES.items():
            _add_member(archive, path, tarfile.DIRTYPE, mode=mode, owner=owner)
        for path, link in SYMLINKS.items():
            _add_member(archive, path, tarfile.SYMTYPE, mode=0o777, link=link)
        for path, text in TEXT_FILES.items():
            _add_bytes(archive, path, text.encode(), 0o644)
        for target, source in sorted(files.items()):
            executable = bool(source.stat().st_mode & stat.S_IXUSR)
            _add_bytes(archive, target.lstrip("/"), source.read_bytes(), 0o755 if executable else 0o644)
        for path, link in links.items():
            _add_member(archive, path, tarfile.SYMTYPE, mode=0o777, link=link)
    layer.seek(0)
    return layer


def _add_member(archive: tarfile.TarFile, path: str, kind: bytes, *, mode: int, owner: int = 0, link: str = "") -> None:
    member = tarfile.TarInfo(path)
    member.type, member.mode, member.uid, member.gid, member.linkname = kind, mode, owner, owner, link
    archive.addfile(member)


def _add_bytes(archive: tarfile.TarFile, path: str, content: bytes, mode: int) -> None:
    member = tarfile.TarInfo(path)
    member.size, member.mode = len(content), mode
    archive.addfile(member, io.BytesIO(content))
