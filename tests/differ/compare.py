#!/usr/bin/env python3
"""Runs the same program on the kernel and on netd, and compares what each call answered.

usage: compare.py PROGRAM [SECTION...]      in the lab: $PEER runs on the kernel, `netctl run` on netd

Differences that are allowed stand in `allowed`: a reason ("= ..."), then the patterns of keys that it holds for, each
followed by all that netd answers there ("-> ANSWER | ANSWER", patterns too). An error is a difference without a
pattern, a pattern that fits no difference any more, an answer that is not listed, and one that is not given any more.
"""
import fnmatch
import os
import re
import subprocess
import sys

SECTIONS = ["creation", "options", "structs", "calls", "data", "ready", "raw", "send"]
here = os.path.dirname(os.path.abspath(__file__))


def answers(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.returncode}\n{done.stdout[-300:]}{done.stderr[-2000:]}")
    rows = {}
    for text in done.stdout.splitlines():
        key, answer = text.split("\t", 1)
        n = 2
        while key in rows:
            key = f"{key.split(' #')[0]} #{n}"
            n += 1
        rows[key] = answer
    return rows


def allowed():
    entries, reason = [], None
    with open(os.path.join(here, "allowed")) as f:
        for text in (text.rstrip("\n") for text in f):
            if text.startswith("= "):
                reason = text[2:]
            elif text and not text.startswith("#"):
                if not reason:
                    sys.exit(f"allowed: {text} has no reason")
                key, _, rest = text.partition(" -> ")
                if not rest:
                    sys.exit(f"allowed: {text} does not say what netd answers")
                entries.append((key, matcher(key), [(a, matcher(a)) for a in rest.split(" | ")]))
    return entries


def matcher(pattern):
    return re.compile(fnmatch.translate(pattern))


def excuse(entries, key, answer, used):
    """Is it listed that netd answers so here? Notes which pattern and which of its answers were needed."""
    for pattern, match, answers_there in entries:
        if match.match(key):
            hits = [text for text, m in answers_there if m.match(answer)]
            used.update((pattern, text) for text in hits[:1])
            return bool(hits)
    return False


def table(rows):
    width = [min(max(len(r[i]) for r in rows), 90) for i in range(3)]
    for r in rows:
        print("  ".join(text[:90].ljust(w) for text, w in zip(r, width)).rstrip())


def main():
    program, sections = sys.argv[1], sys.argv[2:] or SECTIONS
    entries = allowed()
    used, wrong, expected, total = set(), [], 0, 0
    for section in sections:
        kernel = answers(os.environ["PEER"].split() + [program, section])
        netd = answers(["netctl", "run", "--", program, section])
        total += len(kernel)
        for key in list(kernel) + [k for k in netd if k not in kernel]:
            a, b = kernel.get(key, "(no line)"), netd.get(key, "(no line)")
            if a == b:
                continue
            if excuse(entries, key, b, used):
                expected += 1
            else:
                wrong.append((key, a, b))
    if wrong:
        table([("call", "kernel", "netd")] + wrong)
    listed = [(pattern, text) for pattern, _, answers_there in entries for text, _ in answers_there]
    stale = [] if sys.argv[2:] else [row for row in listed if row not in used]
    for pattern, text in stale:
        print(f"allowed, but there is no such difference any more: {pattern} -> {text}")
    print(f"{total} answers compared: {len(wrong)} differ, {expected} differ as allowed")
    sys.exit(bool(wrong or stale))


main()
