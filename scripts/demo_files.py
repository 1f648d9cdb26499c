#!/usr/bin/python3
"""What the demo runs on its machines: writes files and says what they hold, and checks them later.

usage: demo_files.py copy LIST DIRECTORY      copies the files named in LIST; prints `F digest size path` for each
       demo_files.py stream DIRECTORY         writes new files until it dies; prints the same once a file is fsynced
       demo_files.py check MANIFEST DIRECTORY compares with such lines; prints each difference, at the end `C files bytes`"""

import hashlib
import os
import sys


def say(content, path):
    os.write(1, f"F {hashlib.sha256(content).hexdigest()} {len(content)} {path}\n".encode("utf-8", "surrogateescape"))


def copy(listing, directory):
    with open(listing, encoding="utf-8", errors="surrogateescape") as names:
        for source in names.read().splitlines():
            with open(source, "rb") as file:
                content = file.read()
            target = directory + source
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as file:
                file.write(content)
            say(content, source)


def stream(directory):
    number = 0
    while True:
        number += 1
        path = f"/during/{number // 100:04}/{number:06}"
        content = hashlib.sha256(path.encode()).digest() * (1 + number * 37 % 512)
        parent = os.path.dirname(directory + path)
        os.makedirs(parent, exist_ok=True)
        with open(directory + path, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        folder = os.open(parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        say(content, path)


def check(manifest, directory):
    files = size = wrong = 0
    with open(manifest, encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            _, digest, length, path = line.rstrip("\n").split(" ", 3)
            try:
                with open(directory + path, "rb") as file:
                    content = file.read()
            except OSError as error:
                print(f"missing: {path}: {error.strerror}")
                wrong += 1
                continue
            if len(content) != int(length) or hashlib.sha256(content).hexdigest() != digest:
                print(f"different: {path}")
                wrong += 1
                continue
            files += 1
            size += len(content)
    print(f"C {files} {size}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit({"copy": copy, "stream": stream, "check": check}[sys.argv[1]](*sys.argv[2:]) or 0)
