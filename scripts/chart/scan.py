"""Compares what checkov found with the findings that stay for a reason.

usage: scan.py SKIPS MANIFESTS REPORT…   (files of YAML and of checkov's JSON)
"""

import fnmatch
import json
import sys

import yaml


def components(manifests):
    """The component of each object, by checkov's name for it."""
    known = {}
    with open(manifests, encoding="utf-8") as file:
        for each in yaml.safe_load_all(file):
            if each:
                meta = each["metadata"]
                known[f"{each['kind']}.{meta['namespace']}.{meta['name']}"] = meta["labels"]["app.kubernetes.io/component"]
    return known


def main():
    skips_file, *pairs = sys.argv[1:]
    skips = []
    with open(skips_file, encoding="utf-8") as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                check, component, reason = line.split(None, 2)
                skips.append((check, component, reason))
    used, passed, bad = set(), 0, []
    for manifests, report in zip(pairs[::2], pairs[1::2]):
        known = components(manifests)
        with open(report, encoding="utf-8") as file:
            found = json.load(file)
        passed += found["summary"]["passed"]
        for each in found["results"]["failed_checks"]:
            component = known[each["resource"]]
            for skip in skips:
                if each["check_id"] == skip[0] and fnmatch.fnmatch(component, skip[1]):
                    used.add(skip)
                    break
            else:
                bad.append(f"{each['check_id']} {each['resource']}: {each['check_name']}")
    bad += [f"{skips_file}: nothing is skipped by: {' '.join(skip)}" for skip in skips if skip not in used]
    if not passed:
        bad.append("the scan looked at nothing")
    print("\n".join(bad) if bad else f"{passed} findings passed, {len(used)} kinds skipped with a reason")
    sys.exit(1 if bad else 0)


main()
