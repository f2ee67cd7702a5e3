"""Print random responses of EC2, made from botocore's model, beside what the AWS CLI's parser reads in them: a line of
JSON for each, with op, xml and data. Arguments: a seed, and how many responses of each operation."""
import json, random, sys
from xml.sax.saxutils import escape

from botocore import parsers, session

rnd = random.Random(int(sys.argv[1]))
model = session.get_session().get_service_model("ec2")
# As the AWS CLI does: timestamps and blobs as they are sent.
parser = parsers.EC2QueryParser(timestamp_parser=lambda s: s, blob_parser=lambda s: s)


def text(shape):
    kind = shape.type_name
    if kind in ("integer", "long"):
        return str(rnd.randint(-2**31, 2**31))
    if kind in ("float", "double"):
        return rnd.choice(["0", "0.5", "12.25", "-3", "1e3"])
    if kind == "boolean":
        return rnd.choice(["true", "false", ""])
    if kind == "timestamp":
        return "2026-%02d-%02dT08:15:32.000Z" % (rnd.randint(1, 12), rnd.randint(1, 28))
    if kind == "blob":
        return "aGVsbG8="
    return "".join(rnd.choice("abc-/. <&>\"'é漢😀\n") for _ in range(rnd.randint(0, 12)))


def write(out, name, shape):
    if shape.type_name == "structure":
        inner = []
        members(inner, shape)
    elif shape.type_name == "list":
        inner = []
        for _ in range(rnd.randint(0, 3)):
            write(inner, shape.member.serialization.get("name", "item"), shape.member)
    else:
        inner = [escape(text(shape))]
    inner = "".join(inner)
    if not inner and rnd.random() < 0.5:
        out.append(f"<{name}/>")
    else:
        out.append(f"{gap()}<{name}>{inner}</{name}>" if shape.type_name in ("structure", "list") else f"<{name}>{inner}</{name}>")


def gap():
    return rnd.choice(["", "\n    ", "<!-- c -->"])


def members(out, shape):
    for name, member in shape.members.items():
        if rnd.random() < 0.6:
            out.append(gap())
            write(out, member.serialization.get("name", name), member)


for op in model.operation_names:
    shape = model.operation_model(op).output_shape
    if not op.startswith(("Describe", "Get", "List", "Search")) or shape is None:
        continue
    for _ in range(int(sys.argv[2])):
        out = []
        members(out, shape)
        xml = f'<?xml version="1.0" encoding="UTF-8"?>\n<{op}Response xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>r</requestId>{"".join(out)}</{op}Response>'
        data = parser.parse({"status_code": 200, "headers": {}, "body": xml.encode()}, shape)
        data.pop("ResponseMetadata", None)
        print(json.dumps({"op": op, "xml": xml, "data": data}))
