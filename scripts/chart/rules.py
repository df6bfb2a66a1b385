"""What must hold of every rendering of the chart, beyond the schemas of Kubernetes. Each rule is also shown a rendering that is
broken on purpose, and must complain.

usage: rules.py FOLDER   (NAME.yaml: the renderings, and `minimal` and `production` among them)
"""

import copy
import pathlib
import re
import sys

import yaml

STOP_SECONDS = {"node": 40, "router": 10}  # what a stop takes at most (docs/operations.md)
HEARTBEAT_SECONDS = 25  # of a session (docs/configuration.md)
# What an operator is asked to make in the variants that name it.
GIVEN = {"identity-keys", "rookery-cluster-key", "messaging-redis", "given-keys", "given-token", "given-password", "registry"}
COMPONENT = "app.kubernetes.io/component"
RULES = []


def rule(*breaks):
    """A rule, and changes (rendering, old text, new text) each of which it must notice."""

    def keep(function):
        RULES.append((function, breaks))
        return function

    return keep


class Rendering:
    def __init__(self, text):
        self.all = [each for each in yaml.safe_load_all(text) if each]
        self.names = {(each["kind"], each["metadata"]["name"]) for each in self.all}

    def of(self, kind):
        return [each for each in self.all if each["kind"] == kind]

    def component(self, kind, component):
        found = [each for each in self.of(kind) if each["metadata"]["labels"][COMPONENT] == component]
        return found[0] if found else None

    def pods(self):
        """(component, kind, labels, spec) of each workload."""
        for each in self.all:
            if each["kind"] in ("Deployment", "StatefulSet"):
                meta = each["spec"]["template"]["metadata"]
                yield meta["labels"][COMPONENT], each["kind"], meta["labels"], each["spec"]["template"]["spec"]
            elif each["kind"] == "Pod":
                yield each["metadata"]["labels"][COMPONENT], "Pod", each["metadata"]["labels"], each["spec"]

    def pod(self, component):
        return next(spec for found, _, _, spec in self.pods() if found == component)

    def selected(self, selector):
        return sorted(c for c, _, labels, _ in self.pods() if all(labels.get(k) == v for k, v in selector.items()))


def args_of(container):
    flags = {}
    for arg in container.get("args", []):
        if arg.startswith("--"):
            flag, _, value = arg[2:].partition("=")
            flags[flag] = value
    return flags


def seconds(duration):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h|d)", duration).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}[unit]


@rule(
    ("minimal", "runAsNonRoot: true", "runAsNonRoot: false"),
    ("minimal", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"),
    ("minimal", "drop: [ALL]", "drop: [NET_RAW]"),
    ("minimal", "type: RuntimeDefault", "type: Unconfined"),
    ("minimal", "automountServiceAccountToken: false\n      # ", "automountServiceAccountToken: true\n      # "),
)
def pods_have_no_privilege_and_no_token(r):
    for component, _, _, spec in r.pods():
        context = spec.get("securityContext", {})
        # Without any of them the platform chooses, as OpenShift does; it too must choose no root.
        by_platform = not {"runAsUser", "runAsGroup", "fsGroup"} & context.keys()
        ours = context.get("runAsUser", 0) >= 10000 and context.get("fsGroup")
        if not (context.get("runAsNonRoot") and (ours or by_platform)):
            yield f"{component}: the pod may run as root"
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{component}: no seccomp profile"
        if spec.get("automountServiceAccountToken") is not False:
            yield f"{component}: has a token for the API of Kubernetes"
        if spec.get("hostNetwork") or spec.get("hostPID") or any("hostPath" in v for v in spec.get("volumes", [])):
            yield f"{component}: uses the machine itself"
        for container in spec["containers"] + spec.get("initContainers", []):
            context = container.get("securityContext", {})
            good = (
                context.get("runAsNonRoot")
                and context.get("readOnlyRootFilesystem")
                and context.get("allowPrivilegeEscalation") is False
                and context.get("capabilities") == {"drop": ["ALL"]}
            )
            if not good:
                yield f"{component}: {container['name']} has privileges: {context}"


@rule(
    ("minimal", "terminationGracePeriodSeconds: 30", "terminationGracePeriodSeconds: 10"),
    ("production", "terminationGracePeriodSeconds: 30", "terminationGracePeriodSeconds: 14"),
    ("production", "terminationGracePeriodSeconds: 55", "terminationGracePeriodSeconds: 40"),
    ("production", "seconds: 5", "seconds: 20"),
)
def the_grace_period_is_above_the_drain(r):
    for component in ("node", "router"):
        spec = r.pod(component)
        flags = args_of(spec["containers"][0])
        sleep = spec["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        grace, stop = spec["terminationGracePeriodSeconds"], STOP_SECONDS[component]
        if grace < sleep + stop + 2:
            yield f"{component}: {grace} s for a sleep of {sleep} s and a stop of {stop} s"
        if seconds(flags["drain-window"]) > 6:
            yield f"{component}: a drain window above 6 s"


@rule(
    ("minimal", "podManagementPolicy: Parallel", "podManagementPolicy: OrderedReady"),
    ("minimal", "publishNotReadyAddresses: true", "publishNotReadyAddresses: false"),
    ("minimal", "clusterIP: None", "type: ClusterIP"),
    ("minimal", "--node-id=$(POD_NAME)", "--node-id=one"),
    ("minimal", "--advertise-peer=$(POD_NAME).rookery-node.", "--advertise-peer=rookery-node."),
    ("minimal", "--advertise-peer=$(POD_NAME).rookery-node.rookery.svc.cluster.local:7081", "--advertise-peer=$(POD_NAME).rookery-node.rookery.svc.cluster.local:7082"),
    ("minimal", "--expect-nodes=1", "--expect-nodes=2"),
    ("minimal", "serviceName: rookery-node", "serviceName: rookery"),
)
def a_node_has_a_name_and_a_folder_of_its_own(r):
    node = r.component("StatefulSet", "node")
    spec, pod = node["spec"], node["spec"]["template"]["spec"]
    flags, name = args_of(pod["containers"][0]), node["metadata"]["name"]
    service = next((s for s in r.of("Service") if s["metadata"]["name"] == spec["serviceName"]), None)
    if spec["podManagementPolicy"] != "Parallel":
        yield "nodes would start one after the other, and wait for ever"
    if not service or service["spec"].get("clusterIP") != "None" or not service["spec"].get("publishNotReadyAddresses"):
        yield "no headless Service that publishes nodes that are not ready"
        return
    ports = {port["name"]: port["port"] for port in service["spec"]["ports"]}
    host = f"$(POD_NAME).{service['metadata']['name']}.{node['metadata']['namespace']}.svc."
    for flag, listen, port in (("advertise-peer", "peer-listen", "peer"),):
        if not flags[flag].startswith(host) or not flags[flag].endswith(f":{ports[port]}"):
            yield f"--{flag}={flags[flag]} is not the name of the pod in {service['metadata']['name']} and port {ports[port]}"
        if not flags[listen].endswith(f":{ports[port]}"):
            yield f"--{listen}={flags[listen]} is not port {ports[port]}"
    if flags["node-id"] != "$(POD_NAME)":
        yield f"--node-id={flags['node-id']} is the same for all nodes"
    if not any(e["name"] == "POD_NAME" and "fieldRef" in e["valueFrom"] for e in pod["containers"][0]["env"] if "valueFrom" in e):
        yield "POD_NAME is not the name of the pod"
    claims = [claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]]
    if not any(m["mountPath"] == flags["data"] and m["name"] in claims for m in pod["containers"][0]["volumeMounts"]):
        yield f"--data={flags['data']} is on no volume of the node's own"
    if spec["persistentVolumeClaimRetentionPolicy"] != {"whenDeleted": "Retain", "whenScaled": "Retain"}:
        yield "folders of nodes would be deleted"
    if int(flags["expect-nodes"]) > spec["replicas"]:
        yield f"{name}: waits for more nodes than there are"


@rule(("minimal", "- --drain-window=2s", "- --drain-window=2s\n            - --drain-window=3s"))
def no_flag_is_given_twice(r):
    for component, _, _, spec in r.pods():
        given = [arg.partition("=")[0] for arg in spec["containers"][0].get("args", []) if arg.startswith("--")]
        if len(given) != len(set(given)):
            yield f"{component}: {sorted(flag for flag in set(given) if given.count(flag) > 1)}"


@rule(
    ("minimal", "path: /readyz, port: operations", "path: /livez, port: operations"),
    ("production", "path: /livez, port: operations", "path: /readyz, port: operations"),
)
def probes_ask_what_they_mean(r):
    for component in ("node", "router"):
        container = r.pod(component)["containers"][0]
        for probe, path in (("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
            asked = container.get(probe, {}).get("httpGet", {})
            if asked != {"path": path, "port": "operations"}:
                yield f"{component}: {probe} asks {asked}"


@rule(
    ("production", "targetPort: client", "targetPort: operations"),
    ("production", "      targetPort: client\n      appProtocol: http", "      targetPort: client\n    - name: more\n      port: 9082\n      targetPort: operations"),
    ("production", "clusterIP: None", "type: LoadBalancer"),
    ("production", "                name: rookery\n                port", "                name: rookery-node\n                port"),
)
def clients_reach_the_client_port_alone(r):
    for service in r.of("Service"):
        spec, name = service["spec"], service["metadata"]["name"]
        targets = {port["targetPort"] for port in spec["ports"]}
        if spec.get("clusterIP") == "None":
            continue
        if spec.get("type", "ClusterIP") != "ClusterIP" and targets != {"client"}:
            yield f"{name}: publishes {targets}"
        if not targets <= {"client", "redis"}:
            yield f"{name}: has {targets}"
    for service in r.of("Service"):
        if service["spec"].get("type", "ClusterIP") != "ClusterIP" and r.selected(service["spec"]["selector"]) != ["router"]:
            yield f"{service['metadata']['name']}: publishes {r.selected(service['spec']['selector'])}"
    for ingress in r.of("Ingress"):
        for host in ingress["spec"]["rules"]:
            for path in host["http"]["paths"]:
                target = path["backend"]["service"]
                service = next(s for s in r.of("Service") if s["metadata"]["name"] == target["name"])
                ports = {port["name"]: port["targetPort"] for port in service["spec"]["ports"]}
                if r.selected(service["spec"]["selector"]) != ["router"] or ports.get(target["port"]["name"]) != "client":
                    yield f"the Ingress leads to {target}"


@rule(
    ("production", 'proxy-read-timeout: "3600"', 'proxy-read-timeout: "30"'),
    ("production", "proxy-send-timeout", "proxy-gone-timeout"),
)
def the_ingress_lets_a_quiet_socket_live(r):
    for ingress in r.of("Ingress"):
        given = {k: v for k, v in ingress["metadata"].get("annotations", {}).items() if "timeout" in k}
        wanted = {"nginx": ("proxy-read-timeout", "proxy-send-timeout"), "haproxy": ("timeout-tunnel",)}
        kind = next((kind for kind in wanted if any(kind in key for key in given)), None)
        if kind is None:
            yield "no timeout for WebSockets"
            continue
        for want in wanted[kind]:
            values = [v for k, v in given.items() if k.endswith("/" + want)]
            if not values or any(int(v.rstrip("s")) <= 2 * HEARTBEAT_SECONDS for v in values):
                yield f"{want} is {values}, with a heartbeat of {HEARTBEAT_SECONDS} s"


@rule(
    ("minimal", "        - port: peer\n", "        - port: peer\n    - ports:\n        - port: peer\n"),
    ("minimal", "              app.kubernetes.io/component: router\n      ports:\n        - port: peer", "              app.kubernetes.io/part-of: rookery\n      ports:\n        - port: peer"),
    ("minimal", "kubernetes.io/metadata.name: monitoring\n      ports:\n        - port: operations", "kubernetes.io/metadata.name: monitoring\n        - podSelector: {}\n      ports:\n        - port: operations"),
    ("minimal", "    - ports:\n        - port: client", "    - ports:\n        - port: client\n        - port: operations"),
)
def network_policies_close_what_is_trusted(r):
    policies = {p["metadata"]["labels"][COMPONENT]: p["spec"] for p in r.of("NetworkPolicy")}
    if not policies:
        return
    for component, *_ in r.pods():
        if component not in policies or r.selected(policies[component]["podSelector"]["matchLabels"]) != [component]:
            yield f"{component}: no policy of its own"
            return
    def sources(component, port):
        """Which pods a policy lets reach a port: components, or words for what is not of this release."""
        for opened in policies[component].get("ingress", []):
            if not any(each["port"] == port for each in opened.get("ports", [{"port": port}])):
                continue
            for source in opened.get("from", [{}]):
                if set(source) == {"podSelector"} and source["podSelector"].get("matchLabels"):
                    yield from r.selected(source["podSelector"]["matchLabels"])
                elif set(source) == {"namespaceSelector"} and source["namespaceSelector"].get("matchLabels"):
                    yield "namespaces"
                else:
                    yield "anyone"
    wanted = [
        ("node", "peer", {"node", "router"}),
        ("node", "operations", {"namespaces"}),
        ("router", "operations", {"namespaces"}),
    ]
    if "redis" in policies:
        wanted.append(("redis", "redis", {"node", "router"}))
    for component, port, allowed in wanted:
        reached = set(sources(component, port))
        if not reached <= allowed or (port != "operations" and reached != allowed):
            yield f"{component}: port {port} is open to {sorted(reached)}, not {sorted(allowed)}"
    if not set(sources("router", "client")):
        yield "no client reaches a router"
    known = {c: {p["name"] for k in s["containers"] for p in k.get("ports", [])} for c, _, _, s in r.pods()}
    for component, spec in policies.items():
        for port in (p["port"] for opened in spec.get("ingress", []) for p in opened.get("ports", [])):
            if port not in known[component]:
                yield f"{component}: the policy names port {port}, which there is not"


@rule(
    ("production", "--jwks=/etc/rookery/jwks/jwks.json", "--jwks=/etc/rookery/keys.json"),
    ("minimal", "name: rookery-keys\n                  items", "name: rookery-key\n                  items"),
    ("minimal", "path: cluster-key", "path: other"),
    ("production", "name: identity-keys", "name: identity-key"),
    ("production", "serviceAccountName: rookery", "serviceAccountName: other"),
    ("minimal", "                    - key: redis-urls", "                    - key: urls"),
)
def everything_named_is_there(r):
    objects = {(each["kind"], each["metadata"]["name"]): each for each in r.all}
    for component, _, _, spec in r.pods():
        if spec["serviceAccountName"] not in ("default", "given-account") and ("ServiceAccount", spec["serviceAccountName"]) not in objects:
            yield f"{component}: no ServiceAccount {spec['serviceAccountName']}"
        files = {}
        for volume in spec.get("volumes", []):
            parts = volume.get("projected", {}).get("sources", [volume])
            for part in parts:
                for kind, key in (("Secret", "secret"), ("ConfigMap", "configMap")):
                    if key not in part:
                        continue
                    name = part[key].get("name") or part[key].get("secretName")
                    there = objects.get((kind, name))
                    if not there and name not in GIVEN:
                        yield f"{component}: no {kind} {name}"
                    for item in part[key].get("items", []):
                        files.setdefault(volume["name"], set()).add(item["path"])
                        if there and item["key"] not in there.get("data", {}):
                            yield f"{component}: {kind} {name} has no {item['key']}"
                    if "items" not in part[key]:
                        known = set(there["data"]) if there else None
                        files[volume["name"]] = known
        for container in spec["containers"]:
            mounts = {m["mountPath"]: m["name"] for m in container.get("volumeMounts", [])}
            named = [e["value"] for e in container.get("env", []) if e["name"].endswith("_FILE")]
            named += [v for f, v in args_of(container).items() if f == "jwks"]
            for path in named:
                folder, _, file = path.rpartition("/")
                known = files.get(mounts.get(folder, ""), set())
                if folder not in mounts or (known is not None and file not in known):
                    yield f"{component}: nothing is mounted at {path}"
            ports = {port["name"] for port in container.get("ports", [])}
            for probe in ("livenessProbe", "readinessProbe"):
                port = container.get(probe, {}).get("httpGet", {}).get("port")
                if port and port not in ports:
                    yield f"{component}: {probe} asks port {port}"


@rule(
    ("minimal", "helm.sh/resource-policy: keep", "helm.sh/resource-policy: drop"),
    ("minimal", "value: /run/secrets/rookery/redis-urls", "value: redis://:secret@host:6379"),
)
def secrets_are_kept_and_shown_nowhere(r):
    for secret in r.of("Secret"):
        if secret["metadata"].get("annotations", {}).get("helm.sh/resource-policy") != "keep":
            yield f"{secret['metadata']['name']} would go with the release"
    for component, _, _, spec in r.pods():
        for container in spec["containers"]:
            for entry in container.get("env", []):
                if "secretKeyRef" in entry.get("valueFrom", {}) or re.search(r"://[^/]*@", entry.get("value", "")):
                    yield f"{component}: a secret is in the environment: {entry['name']}"
                if entry["name"] in ("ROOKERY_JWT_SECRET", "ROOKERY_CLUSTER_KEY", "ROOKERY_REDIS"):
                    yield f"{component}: a secret is in the environment: {entry['name']}"
            if any("redis://" in arg for arg in container.get("args", [])):
                yield f"{component}: the URLs of Redis are in its arguments"
    node, router = r.pod("node"), r.pod("router")
    if "cluster-key" not in str(node) or "cluster-key" not in str(router):
        yield "nodes and routers need the cluster key"


@rule(
    ("minimal", "    app.kubernetes.io/component: router\n  ports", "    app.kubernetes.io/part-of: rookery\n  ports"),
    ("production", "      app.kubernetes.io/component: node\n\n---", "      app.kubernetes.io/component: nodes\n\n---"),
)
def every_selector_selects_one_component(r):
    for each in r.all:
        name = f"{each['kind']} {each['metadata']['name']}"
        if each["kind"] == "Service":
            selected = r.selected(each["spec"]["selector"])
        elif each["kind"] in ("PodDisruptionBudget", "StatefulSet", "Deployment"):
            selected = r.selected(each["spec"]["selector"]["matchLabels"])
        elif each["kind"] == "NetworkPolicy":
            selected = r.selected(each["spec"]["podSelector"]["matchLabels"])
        else:
            continue
        if selected != [each["metadata"]["labels"][COMPONENT]]:
            yield f"{name} selects {selected}"


@rule(
    ("production", "  maxUnavailable: 1\n  selector", "  maxUnavailable: 0\n  selector"),
    ("production", "  minReplicas: 3", "  minReplicas: 30"),
    ("production", "  strategy:\n", "  replicas: 2\n  strategy:\n"),
)
def disruption_and_scaling_do_not_fight(r):
    for budget in r.of("PodDisruptionBudget"):
        if budget["spec"].get("maxUnavailable", 0) < 1:
            yield f"{budget['metadata']['name']}: no machine could ever be emptied"
    router = r.component("Deployment", "router")["spec"]
    for scaler in r.of("HorizontalPodAutoscaler"):
        if scaler["spec"]["minReplicas"] > scaler["spec"]["maxReplicas"]:
            yield "the autoscaler wants more than it may"
        if "replicas" in router:
            yield "an upgrade would undo what the autoscaler did"
        if "cpu" not in r.pod("router")["containers"][0]["resources"].get("requests", {}):
            yield "the autoscaler compares with a request for CPU that there is not"
    if router["strategy"]["rollingUpdate"]["maxUnavailable"] != 0:
        yield "an update takes routers away before others are there"


@rule(("minimal", "memory: 1Gi\n", "\n"),)
def memory_is_bounded_and_asked_for(r):
    for component, _, _, spec in r.pods():
        for container in spec["containers"]:
            resources = container.get("resources", {})
            if not (resources.get("limits") or {}).get("memory") or set(resources.get("requests") or {}) < {"cpu", "memory"}:
                yield f"{component}: {container['name']} has resources {resources}"


@rule(("minimal", "enableServiceLinks: false", "enableServiceLinks: true"),)
def no_variables_come_by_themselves(r):
    for component, _, _, spec in r.pods():
        if spec.get("enableServiceLinks") is not False:
            yield f"{component}: variables of Services would look like settings"


@rule(
    ("minimal", "name: rookery-router-operations", "name: " + "x" * 64),
    ("minimal", "  namespace: rookery\n", "\n"),
    ("minimal", "        labels:\n          app.kubernetes.io/name", "        labels:\n          helm.sh/chart: rookery-0.1.0\n          app.kubernetes.io/name"),
)
def names_fit_and_nothing_unchangeable_carries_a_version(r):
    if len(r.names) != len(r.all):
        yield "two objects have one name"
    for each in r.all:
        meta = each["metadata"]
        # A StatefulSet adds a number and, in a label, a hash of ten.
        longest = 52 if each["kind"] == "StatefulSet" else 63
        if len(meta["name"]) > longest:
            yield f"{each['kind']} {meta['name']}: longer than {longest}"
        if not meta.get("namespace"):
            yield f"{each['kind']} {meta['name']}: no namespace"
        for value in meta["labels"].values():
            if len(str(value)) > 63:
                yield f"{each['kind']} {meta['name']}: label {value}"
        spec = each.get("spec", {})
        fixed = [spec["selector"]] if each["kind"] in ("StatefulSet", "Deployment") else []
        fixed += [c["metadata"].get("labels", {}) for c in spec.get("volumeClaimTemplates", [])]
        if "helm.sh/chart" in str(fixed) or "app.kubernetes.io/version" in str(fixed):
            yield f"{each['kind']} {meta['name']}: what Kubernetes lets nobody change carries a version"


@rule(
    ("production", "jobLabel: rookery/job", "jobLabel: job"),
    ("production", "rookery/job: rookery-router", "rookery/job: rookery-node"),
    ("production", 'rookery/operations: "true"\n    #', 'rookery/operations: "no"\n    #'),
)
def prometheus_finds_both(r):
    for monitor in r.of("ServiceMonitor"):
        labels, port = monitor["spec"]["selector"]["matchLabels"], monitor["spec"]["endpoints"][0]["port"]
        found = [
            s
            for s in r.of("Service")
            if all(s["metadata"]["labels"].get(k) == v for k, v in labels.items()) and any(p["name"] == port for p in s["spec"]["ports"])
        ]
        components = sorted(s["metadata"]["labels"][COMPONENT] for s in found)
        if components != ["node", "router"]:
            yield f"the ServiceMonitor finds {components}"
        if len({s["metadata"]["labels"].get(monitor["spec"]["jobLabel"]) for s in found} - {None}) != 2:
            yield "nodes and routers have no job of their own"
    for rules in r.of("PrometheusRule"):
        if not rules["spec"].get("groups"):
            yield "the PrometheusRule has no groups"


def main():
    folder = pathlib.Path(sys.argv[1])
    texts = {file.stem: file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.yaml"))}
    renderings = {name: Rendering(text) for name, text in texts.items()}
    failed = 0
    for check, breaks in RULES:
        title = check.__name__.replace("_", " ")
        said = [f"{name}: {what}" for name, r in renderings.items() for what in check(copy.deepcopy(r))]
        for name, old, new in breaks:
            if old not in texts[name]:
                said.append(f"the text to break is not in {name}: {old!r}")
            elif not list(check(Rendering(texts[name].replace(old, new)))):
                said.append(f"does not notice {new!r} instead of {old!r} in {name}")
        failed += bool(said)
        print(f"{'FAIL' if said else 'ok'}  {title} ({len(renderings)} renderings, {len(breaks)} breakages noticed)")
        for line in said:
            print(f"      {line}")
    sys.exit(1 if failed else 0)


main()
