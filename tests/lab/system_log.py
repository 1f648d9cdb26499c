#!/usr/bin/python3
"""The system log of a namespaced machine: what is sent to /dev/log goes to /var/log/syslog, a line each."""

import os
import socket

receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
receiver.bind("/dev/log")
os.chmod("/dev/log", 0o666)
log = os.open("/var/log/syslog", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
while True:
    os.write(log, receiver.recv(65536).rstrip(b"\n\0") + b"\n")
