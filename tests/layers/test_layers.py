"""The layers of the source (ARCHITECTURE.md): includes point down, no word of the workshop it was made in, every file a small one."""

import os
import re
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# Layer: the layers it may include. A layer may always include itself.
PURE = {"base"}
FORMATS = {"base", "wire", "meta", "config"}
ALLOWED = {
    "base": set(),
    "wire": PURE,
    "meta": PURE,
    "config": PURE,
    "engine": FORMATS,
    "runtime": FORMATS | {"engine"},
    "exports": FORMATS | {"engine", "runtime"},
    "control": FORMATS | {"engine", "runtime"},
    "duplexd": FORMATS | {"engine", "runtime", "exports", "control"},
    "tools": {"base", "config", "meta", "control"},
    "sim": FORMATS | {"engine"},
    "bench": FORMATS | {"engine", "runtime", "exports", "control"},
}
# Up to the engine everything is pure: no system call, clock, thread or randomness of its own.
PURE_LAYERS = {"wire", "meta", "config", "engine"}
IMPURE_HEADERS = re.compile(r"<(unistd|fcntl|pthread|sys/(?!types)\w+|linux/\w+|poll|liburing|thread|mutex|"
                            r"shared_mutex|condition_variable|future|chrono|random|time|ctime|signal|csignal)(\.h)?>")
# Reading a configuration file's includes needs the file system; it does so behind one file.
IMPURE_FILES = {"src/config/loader.cpp"}
INCLUDE = re.compile(r'^\s*#\s*include\s+("(?P<own>[^"]+)"|(?P<system><[^>]+>))')
WORKSHOP_WORDS = re.compile(r"/work/|/work\b|/tmp/brief|shared/(spec|golden|lab)|\bclaude\b|\banthropic\b|\bsub-?agents?\b|\bLLM\b|\bCEO\b", re.I)


def tracked(*patterns):
    listing = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard", "--"] + list(patterns), check=True,
                             capture_output=True, text=True)
    return [path for path in listing.stdout.splitlines() if os.path.isfile(os.path.join(ROOT, path))]


def sources():
    return [path for path in tracked("src", "sim", "bench") if path.endswith((".hpp", ".cpp", ".h"))]


def layer_of(path):
    parts = path.split("/")
    return parts[1] if parts[0] == "src" else parts[0]


def includes(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            match = INCLUDE.match(line)
            if match:
                yield number, match["own"], match["system"]


def arrows_up(path, lines):
    """What is wrong with the includes of one file."""
    layer = layer_of(path)
    if layer not in ALLOWED:
        return [f"{path}: no such layer: {layer}"]
    wrong = []
    for number, own, system in lines:
        if own is not None:
            target = own.split("/")[0]
            if "/" not in own:
                wrong.append(f"{path}:{number}: {own} is not written from src/")
            elif target != layer and target not in ALLOWED[layer]:
                wrong.append(f"{path}:{number}: {layer} includes {own}: that arrow runs up")
        elif layer in PURE_LAYERS and not path.endswith(("_test.cpp", "_fuzz.cpp")) and path not in IMPURE_FILES:
            if IMPURE_HEADERS.match(system):
                wrong.append(f"{path}:{number}: {layer} is pure and includes {system}")
    return wrong


def test_arrows_point_down():
    paths = sources()
    assert len(paths) > 20
    wrong = [line for path in paths for line in arrows_up(path, includes(path))]
    assert not wrong, "\n".join(wrong)


def test_the_check_sees_an_arrow_up():
    assert arrows_up("src/wire/packet.cpp", [(1, "engine/ports.hpp", None)])
    assert arrows_up("src/engine/request.cpp", [(1, "runtime/loop.hpp", None)])
    assert arrows_up("src/tools/drbdadm/main.cpp", [(1, "engine/volume.hpp", None)])
    assert arrows_up("src/engine/request.cpp", [(1, None, "<unistd.h>")])
    assert not arrows_up("src/engine/request.cpp", [(1, "wire/packet.hpp", None), (2, "engine/ports.hpp", None), (3, None, "<vector>")])


def test_no_circles_within_a_layer():
    """Files of a layer do not include each other in a circle."""
    graph = {path: [] for path in sources()}
    for path in graph:
        for _, own, _ in includes(path):
            if own:
                for candidate in ("src/" + own, own):
                    if candidate in graph and candidate != path:
                        graph[path].append(candidate)
    state = {}

    def visit(path, trail):
        state[path] = "open"
        for target in graph[path]:
            if state.get(target) == "open":
                return trail + [path, target]
            if target not in state:
                circle = visit(target, trail + [path])
                if circle:
                    return circle
        state[path] = "done"
        return None

    for path in graph:
        if path not in state:
            circle = visit(path, [])
            assert not circle, " -> ".join(circle)


def test_no_workshop_words():
    this = os.path.relpath(os.path.abspath(__file__), ROOT)
    wrong = []
    for path in tracked():
        if path == this:
            continue
        try:
            with open(os.path.join(ROOT, path), encoding="utf-8") as file:
                wrong += [f"{path}:{number}: {line.strip()}" for number, line in enumerate(file, 1) if WORKSHOP_WORDS.search(line)]
        except UnicodeDecodeError:
            continue
    assert not wrong, "\n".join(wrong)


def test_headers_have_one_guard():
    wrong = [path for path in sources() if path.endswith(".hpp")
             and "#pragma once" not in open(os.path.join(ROOT, path), encoding="utf-8").read()]
    assert not wrong, "no #pragma once: " + ", ".join(wrong)
