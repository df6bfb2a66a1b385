#!/usr/bin/env python3
"""The checks of scripts/check-prometheus. Standard library only.

usage: check.py files                                 what can be seen without a server
       check.py live PROMETHEUS_URL CLUSTER DEV       a running Prometheus, a cluster's folder, and a `rookery dev`'s ready file

Prints `ok` or `FAILED` and a sentence for each check. Exits 1 when one failed.
"""

import json
import pathlib
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
RULES = ROOT / "helm/alerts/rookery.yaml"
CASES = ROOT / "scripts/prometheus/alerts_test.yaml"
RUNBOOK = ROOT / "docs/alerts.md"
DASHBOARD = ROOT / "helm/dashboards/rookery.json"
EXPECTED = ROOT / "scripts/prometheus/metrics.txt"
JOBS = {"node": "rookery-node", "router": "rookery-router", "dev": "rookery-dev"}
# Grafana's words for the units of our panels.
UNITS = {"none", "s", "bytes", "percentunit", "reqps", "cps"}
# Debian's build refuses it, the project's own knows it.
KUBERNETES = "scrape_configs:\n  - job_name: pods\n    kubernetes_sd_configs:\n      - role: pod\n"
# Alerts that tell of the machine, which may be slow or full while the rules are right.
MACHINE = {"RookeryDiskFillsUp", "RookerySendsSlow"}
# For whatever has to come within some scrapes.
WAIT_SECONDS = 40

failures = 0


def check(what, *problems):
    """Tells how a check ended: well, unless there are problems."""
    global failures
    problems = [problem for problem in problems if problem]
    print(f"{'FAILED' if problems else 'ok    '} {what}")
    for problem in problems:
        print("       " + str(problem).replace("\n", "\n       "))
    failures += bool(problems)
    sys.stdout.flush()


def within(seconds, look):
    """What `look` still complains about when it has had so long: an empty list as soon as it is content."""
    deadline = time.monotonic() + seconds
    while True:
        problems = look()
        if not problems or time.monotonic() > deadline:
            return problems
        time.sleep(0.5)


def run(*command, stdin=None):
    """Empty when the command succeeded, else what it said."""
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, cwd=ROOT)
    except subprocess.TimeoutExpired:
        return f"{' '.join(map(str, command))}: not done within 120 s"
    return "" if done.returncode == 0 else f"{' '.join(map(str, command))} ended with {done.returncode}\n{done.stdout}{done.stderr}".strip()


def documented():
    """Names of docs/metrics.md with their kinds."""
    return dict(re.findall(r"^\| `(rookery_\w+)` \| (\w+) \|", (ROOT / "docs/metrics.md").read_text(), re.M))


def base(name, kinds):
    """The documented name that a series belongs to: of a histogram there are three."""
    stem = re.sub(r"_(bucket|sum|count)$", "", name)
    return stem if kinds.get(stem) == "histogram" else name


def expected():
    """(metric, role) → `moves`, `there` or `fault`, from metrics.txt; and what is wrong with that file."""
    table, wrong = {}, []
    for number, line in enumerate(EXPECTED.read_text().splitlines(), 1):
        words = line.split("#")[0].split() if not line.startswith("#") else []
        if not words:
            continue
        name, roles, when = (words + ["", ""])[:3]
        if not set(roles.split(",")) <= set(JOBS) or when not in ("moves", "there", "fault"):
            wrong.append(f"line {number} is no `metric roles moves|there|fault`: {line}")
            continue
        if when == "fault" and "#" not in line:
            wrong.append(f"line {number}: {name} may be absent, but there is no reason beside it")
        for role in roles.split(","):
            table[name, role] = when
    return table, wrong


# --- Without a server -------------------------------------------------------------------------------------------------


def check_expected():
    kinds = documented()
    table, wrong = expected()
    named = {name for name, _role in table}
    wrong += [f"{name} is in docs/metrics.md, but not in {EXPECTED.name}: say where and when it is there" for name in sorted(kinds.keys() - named)]
    wrong += [f"{name} is not in docs/metrics.md" for name in sorted(named - kinds.keys())]
    check(f"each of the {len(kinds)} metrics of docs/metrics.md has its place in {EXPECTED.name}", *wrong)


def alerts_of_file():
    """Names of the alerts, with the text of each."""
    parts = re.split(r"^      - alert: (\w+)\n", RULES.read_text(), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def unknown_metrics(text):
    """Metrics in an expression that no document names."""
    kinds = documented()
    found = set(re.findall(r"\brookery_\w+", text))
    return sorted(name for name in found if base(name, kinds) not in kinds)


def check_alerts():
    alerts = alerts_of_file()
    check("promtool check rules", run("promtool", "check", "rules", RULES))
    check("promtool test rules", run("promtool", "test", "rules", CASES))
    fires, silent = set(), set()
    cases = re.findall(r"eval_time: \w+\n\s+alertname: (\w+)\n\s+exp_alerts:(.*)", CASES.read_text())
    for name, rest in cases:
        (silent if rest.strip() == "[]" else fires).add(name)
    check(f"of {len(cases)} cases each alert has one in which it fires and one in which it does not",
          *[f"{name} fires in no case" for name in alerts if name not in fires],
          *[f"{name} is silent in no case" for name in alerts if name not in silent],
          *[f"a case is about {name}, which is no alert" for name in sorted((fires | silent) - alerts.keys())])
    wrong = []
    for name, text in alerts.items():
        fields = dict(re.findall(r"^\s+(severity|summary|description|runbook): (.+)$", text, re.M))
        missing = {"severity", "summary", "description", "runbook"} - fields.keys()
        wrong += [f"{name} has no {field}" for field in sorted(missing)]
        if fields.get("severity") not in ("critical", "warning"):
            wrong.append(f"{name}: its severity is critical or warning")
        if fields.get("runbook") != f"docs/alerts.md#{name.lower()}":
            wrong.append(f"{name}: its runbook is docs/alerts.md#{name.lower()}, not {fields.get('runbook')}")
        wrong += [f"{name} asks for {metric}, which docs/metrics.md does not name" for metric in unknown_metrics(text)]
    check(f"each of the {len(alerts)} alerts has severity, summary, description, runbook, and metrics that exist", *wrong)
    sections = dict(re.findall(r"^## (Rookery\w+)\n(.*?)(?=^## |\Z)", RUNBOOK.read_text() if RUNBOOK.exists() else "", re.M | re.S))
    check("each alert has its section in docs/alerts.md, that says what to do",
          *[f"{name} has no section" for name in alerts if name not in sections],
          *[f"section {name} is about no alert" for name in sections if name not in alerts],
          *[f"section {name} lacks **{word}**" for name, text in sections.items() for word in ("Means", "Look", "Do") if f"**{word}" not in text])


def check_configs():
    check("promtool check config docs/prometheus.yml", run("promtool", "check", "config", ROOT / "docs/prometheus.yml"))
    blocks = re.findall(r"^```yaml\n(scrape_configs:.*?)^```", (ROOT / "docs/prometheus.md").read_text(), re.M | re.S)
    known = "kubernetes_sd_configs not found" not in run("promtool", "check", "config", "/dev/stdin", stdin=KUBERNETES)
    if not known:
        blocks = [re.sub(r"kubernetes_sd_configs:\n\s+- role: pod\n", "static_configs: []\n", block) for block in blocks]
    check(f"promtool check config of the {len(blocks)} examples in docs/prometheus.md"
          + ("" if known else "; of the one for Kubernetes its relabelling only: this build of promtool was made without Kubernetes"),
          "" if blocks else "there is none", *[run("promtool", "check", "config", "/dev/stdin", stdin=block) for block in blocks])


def panels_of_dashboard():
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def check_dashboard():
    try:
        dashboard = json.loads(DASHBOARD.read_text())
    except ValueError as error:
        check("the dashboard is valid JSON", error)
        return
    variables = [variable["name"] for variable in dashboard["templating"]["list"]]
    check("the dashboard is valid JSON with a fixed uid and the variables datasource, job and instance",
          "" if dashboard.get("uid") == "rookery" else "its uid is not rookery",
          "" if variables == ["datasource", "job", "instance"] else f"its variables are {variables}")
    wrong, ids = [], [panel["id"] for panel in dashboard["panels"]]
    for panel in dashboard["panels"]:
        at = f"panel {panel.get('title') or panel.get('id')}"
        wrong.append("" if panel.get("title") else f"{at} has no title")
        if panel["type"] == "row":
            continue
        unit = panel.get("fieldConfig", {}).get("defaults", {}).get("unit")
        wrong.append("" if unit in UNITS else f"{at} has no unit that we use: {unit}")
        wrong.append("" if panel.get("description") else f"{at} has no description")
        wrong.append("" if panel.get("targets") else f"{at} has no query")
        for target in [panel, *panel.get("targets", [])]:
            uid = target.get("datasource", {}).get("uid")
            wrong.append("" if uid == "${datasource}" else f"{at} is bound to the data source {uid}")
        for target in panel.get("targets", []):
            expr = target.get("expr", "")
            selectors = re.findall(r"\b(?:rookery|process)_\w+\{([^}]*\{[^}]*\}[^}]*|[^}]*)\}", expr)
            bound = selectors and all('job=~"$job", instance=~"$instance"' in selector for selector in selectors)
            wrong.append("" if bound else f"{at} does not ask by $job and $instance: {expr}")
            wrong += [f"{at} asks for {metric}, which docs/metrics.md does not name" for metric in unknown_metrics(expr)]
    wrong.append("" if len(ids) == len(set(ids)) else "two panels have one id")
    check(f"each of the {len(panels_of_dashboard())} panels has title, description, unit and queries of metrics that exist", *wrong)


# --- With a running Prometheus ------------------------------------------------------------------------------------------


class Prometheus:
    def __init__(self, url):
        self.url = url

    def get(self, path, **parameters):
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{path} {parameters}: {error.read().decode()}") from error

    def query(self, expr):
        """Labels and value of each series."""
        return [(series["metric"], float(series["value"][1])) for series in self.get("query", query=expr)["result"]]

    def alerts(self):
        """(alert, state, labels) of everything pending or firing."""
        return [(alert["labels"]["alertname"], alert["state"], alert["labels"]) for alert in self.get("alerts")["alerts"]]


def fetch(address, path="/metrics"):
    with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
        return answer.read().decode()


def addresses(cluster, dev):
    """role → operations addresses."""
    at = lambda kind: [json.loads(file.read_text())["operations"] for file in sorted(cluster.glob(f"{kind}-*/ready.json"))]
    return {"node": at("node"), "router": at("router"), "dev": [json.loads(dev.read_text())["operations"]]}


def check_targets(prometheus, targets):
    wanted = {(JOBS[role], address) for role, all_of in targets.items() for address in all_of}

    def look():
        found = {(target["labels"]["job"], target["labels"]["instance"]): target for target in prometheus.get("targets")["activeTargets"]}
        wrong = [f"{target} is not scraped" for target in sorted(wanted - found.keys())]
        return wrong + [f"{key}: {target['health']} {target['lastError']}" for key, target in found.items() if target["health"] != "up"]

    check(f"Prometheus scrapes all {len(wanted)} targets ({', '.join(f'{len(all_of)} {role}' for role, all_of in targets.items())}), and all are up",
          *within(WAIT_SECONDS, look))


def check_texts(targets):
    for role, all_of in targets.items():
        text = fetch(all_of[0])
        check(f"promtool check metrics, {role}", run("promtool", "check", "metrics", stdin=text))
        series = [line.rsplit(" ", 1)[0] for line in text.splitlines() if line and not line.startswith("#")]
        labels = [re.sub(r"\{(.*)\}", lambda found: "{" + ",".join(sorted(re.findall(r'\w+="[^"]*"', found[1]))) + "}", one) for one in series]
        twice = sorted({one for one in labels if labels.count(one) > 1}) if len(labels) != len(set(labels)) else []
        spelt = sorted({shard for shard in re.findall(r'shard="([^"]*)"', text) if not shard.isdigit()})
        check(f"no series of {role} is there twice, and a shard has one name", *twice[:5], *spelt[:5])


def check_names(prometheus, targets):
    """What Prometheus has is what the documents name: no more, no less, and it counts."""
    kinds, table = documented(), expected()[0]
    for role in targets:
        wanted = {name: when for (name, at), when in table.items() if at == role}
        moved = set()

        def look():
            selector = f'{{job="{JOBS[role]}", __name__=~"rookery_.+"}}'
            found = {base(metric["__name__"], kinds) for metric, _ in prometheus.query(f"group by (__name__) ({selector})")}
            moved.update(base(metric["__name__"], kinds) for metric, value in prometheus.query(f"max by (__name__) ({selector})") if value > 0)
            return [f"{name} is on /metrics, but docs/metrics.md does not name it" for name in sorted(found - kinds.keys())] + [
                f"{name} is on /metrics, but {EXPECTED.name} does not expect it of {role}" for name in sorted((found & kinds.keys()) - wanted.keys())] + [
                f"{name} is not there" for name, when in sorted(wanted.items()) if when != "fault" and name not in found] + [
                f"{name} stays 0 under load" for name, when in sorted(wanted.items()) if when == "moves" and name in found and name not in moved]

        counts = [sum(when == kind for when in wanted.values()) for kind in ("moves", "there", "fault")]
        check(f"{role}: of the documented metrics {counts[0]} count under load, {counts[1]} are there, {counts[2]} may wait for a fault; no others",
              *within(WAIT_SECONDS, look))


def check_queries(prometheus):
    """Every query of the dashboard answers with numbers."""
    filled = {"$job": f"{JOBS['node']}|{JOBS['router']}", "$instance": ".+", "$__rate_interval": "15s"}
    queries = [(panel["title"], target["expr"]) for panel in panels_of_dashboard() for target in panel["targets"]]
    left = list(queries)

    def look():
        problems = []
        for title, expr in list(left):
            asked = expr
            for variable, value in filled.items():
                asked = asked.replace(variable, value)
            try:
                answered = [value for _metric, value in prometheus.query(asked) if value == value]
            except RuntimeError as error:
                problems.append(f"{title}: {error}")
                continue
            if answered:
                left.remove((title, expr))
            else:
                problems.append(f"{title}: no number for {asked}")
        return problems

    check(f"each of the {len(queries)} queries of the dashboard answers with numbers under load", *within(WAIT_SECONDS, look))


def check_healthy(prometheus):
    rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    check(f"Prometheus evaluates all {len(rules)} alerts without an error",
          "" if {rule["name"] for rule in rules} == alerts_of_file().keys() else "it has others than the file",
          *[f"{rule['name']}: {rule.get('lastError')}" for rule in rules if rule["health"] != "ok"])
    # An alert waits for its `for`, because a moment of trouble under load is no news: a standby that is behind for a second
    # makes one pending. So no alert may be left within the time, instead of none at one moment.
    left = lambda: [f"{name} {state} {labels}" for name, state, labels in prometheus.alerts() if name not in MACHINE]
    check("no alert stays while all is well", *within(WAIT_SECONDS, left))


def strangers(cluster, count):
    """Connections to a node's peer port by someone who has no cluster key."""
    host, port = json.loads((cluster / "node-1/ready.json").read_text())["peer"].split(":")
    for _ in range(count):
        with socket.create_connection((host, int(port)), timeout=5) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: stranger\r\n\r\n")
            sock.recv(100)


def check_faults(prometheus, cluster):
    """Real faults begin the alerts that are made for them. They fire a minute later, which promtool shows faster."""
    begun = lambda: {(name, labels.get("job"), labels.get("instance")) for name, _state, labels in prometheus.alerts()}
    cluster_does = lambda *words: run("scripts/cluster", "--folder", cluster, *words)
    begin = lambda *wanted: within(WAIT_SECONDS, lambda: [f"{one} does not" for one in wanted if one not in begun()])
    operations = lambda name: json.loads((cluster / name / "ready.json").read_text())["operations"]

    down = ("RookeryTargetDown", JOBS["node"], operations("node-3"))
    unowned = ("RookeryShardsWithoutOwner", JOBS["node"], None)
    check("node-3 is killed: RookeryTargetDown and RookeryShardsWithoutOwner begin", cluster_does("kill", "node-3"), *begin(down, unowned))
    check("node-3 is back: both end", cluster_does("start", "node-3"),
          *within(WAIT_SECONDS, lambda: [f"{one} goes on" for one in (down, unowned) if one in begun()]))
    strangers(cluster, 8)
    check("strangers at a peer port: RookeryLinkRefused begins", *begin(("RookeryLinkRefused", JOBS["node"], operations("node-1"))))
    check("Redis is paused: RookeryRedisUnreachable and RookeryAppendsInDoubt begin", cluster_does("pause", "redis"),
          *begin(("RookeryRedisUnreachable", JOBS["node"], operations("node-1")), ("RookeryRedisUnreachable", JOBS["router"], operations("router-2")),
                 ("RookeryAppendsInDoubt", JOBS["node"], operations("node-1"))))


def main():
    match sys.argv[1:]:
        case ["files"]:
            check_expected()
            check_alerts()
            check_configs()
            check_dashboard()
        case ["live", url, cluster, dev]:
            prometheus, cluster = Prometheus(url), pathlib.Path(cluster)
            targets = addresses(cluster, pathlib.Path(dev))
            check_targets(prometheus, targets)
            check_names(prometheus, targets)
            check_texts(targets)
            check_queries(prometheus)
            check_healthy(prometheus)
            check_faults(prometheus, cluster)
        case _:
            sys.exit(__doc__)
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
