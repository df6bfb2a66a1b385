"""As much of the API of Kubernetes as the chart's `lookup`s need, to check them without a cluster: serves the objects of the given
YAML files on a free port of the loopback address, and writes a kubeconfig for it.

usage: lookups.py KUBECONFIG FILE…
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

import yaml

def plural(kind):
    return {"NetworkPolicy": "networkpolicies", "Ingress": "ingresses"}.get(kind, kind.lower() + "s")


def resource(kind):
    return {"name": plural(kind), "singularName": "", "namespaced": True, "kind": kind, "verbs": ["get", "list"]}


def answers(objects):
    """What is answered, by path: which kinds there are, and each object."""
    versions = {}
    for each in objects:
        versions.setdefault(each["apiVersion"], set()).add(each["kind"])
    groups = []
    paths = {"/version": {"major": "1", "minor": "37", "gitVersion": "v1.37.0"}, "/api": {"kind": "APIVersions", "versions": ["v1"]}}
    for version, kinds in versions.items():
        root = "/api/v1" if version == "v1" else f"/apis/{version}"
        listed = [resource(kind) for kind in sorted(kinds)]
        paths[root] = {"kind": "APIResourceList", "groupVersion": version, "resources": listed}
        if version != "v1":
            group, _, number = version.partition("/")
            known = {"groupVersion": version, "version": number}
            groups.append({"name": group, "versions": [known], "preferredVersion": known})
    paths["/apis"] = {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    for each in objects:
        root = "/api/v1" if each["apiVersion"] == "v1" else f"/apis/{each['apiVersion']}"
        place = each["metadata"]
        # As helm marks what it installed; without, it would not touch it.
        place.setdefault("annotations", {}).update(
            {"meta.helm.sh/release-name": "rookery", "meta.helm.sh/release-namespace": place["namespace"]}
        )
        paths[f"{root}/namespaces/{place['namespace']}/{plural(each['kind'])}/{place['name']}"] = each
    return paths


def main():
    kubeconfig, *files = sys.argv[1:]
    objects = []
    for name in files:
        with open(name, encoding="utf-8") as file:
            objects += [each for each in yaml.safe_load_all(file) if each]
    paths = answers(objects)
    missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}

    class Answer(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            path = self.path.split("?")[0]
            text = json.dumps(paths.get(path, missing)).encode()
            self.send_response(200 if path in paths else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    server = HTTPServer(("127.0.0.1", 0), Answer)
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "here", "user": {}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "here"}}],
        "current-context": "here",
    }
    with open(kubeconfig, "w", encoding="utf-8") as file:
        yaml.safe_dump(config, file)
    server.serve_forever()


main()
