"""What no schema can say of a request, so that what schemathesis takes for valid is valid."""

import schemathesis


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    operation = case.operation.definition.raw.get("operationId")
    if operation == "showHistory":
        # At most one of them; which one goes by what was made up, so that each has its turn.
        places = [name for name in ("before", "after", "around") if name in case.query]
        kept = len(str(sorted(case.query.items()))) % max(len(places), 1)
        for name in places[:kept] + places[kept + 1 :]:
            del case.query[name]
    if operation == "listConversations":
        # A cursor is opaque: none can be made up.
        case.query.pop("after", None)


@schemathesis.check
def problems_have_a_listed_code(ctx, response, case):
    """A problem has the status of its answer, and a code that the response lists under `x-codes`."""
    if "application/problem+json" not in response.headers.get("content-type", []):
        return
    problem = response.json()
    described = case.operation.definition.raw["responses"].get(str(response.status_code), {})
    if "$ref" in described:
        described = case.operation.schema.raw_schema["components"]["responses"][described["$ref"].rsplit("/", 1)[1]]
    # A method that is not documented has no operation whose codes these could be.
    listed = described.get("x-codes", [problem.get("code")])
    assert problem.get("code") in listed, f"{problem.get('code')} is not among {listed}"
    assert problem.get("status") == response.status_code, f"the problem says {problem.get('status')}"
