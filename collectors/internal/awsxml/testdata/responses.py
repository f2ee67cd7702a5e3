"""Print random responses of a service, made from botocore's model, beside what the AWS CLI's parser reads in them: a
line of JSON for each, with op, xml and data. Arguments: the service, a seed, and how many responses of each operation."""
import json, random, sys
from xml.sax.saxutils import escape

from botocore import parsers, session

rnd = random.Random(int(sys.argv[2]))
model = session.get_session().get_service_model(sys.argv[1])
EC2 = model.protocol == "ec2"
ELEMENT = "item" if EC2 else "member"
# As the AWS CLI does: timestamps and blobs as they are sent.
parser = (parsers.EC2QueryParser if EC2 else parsers.QueryParser)(timestamp_parser=lambda s: s, blob_parser=lambda s: s)


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
            write(inner, shape.member.serialization.get("name", ELEMENT), shape.member)
    elif shape.type_name == "map":
        inner = []
        for i in range(rnd.randint(0, 3)):
            inner.append(f"<entry><key>{i}{escape(text(shape.key))}</key>")
            write(inner, "value", shape.value)
            inner.append("</entry>")
    else:
        inner = [escape(text(shape))]
    inner = "".join(inner)
    if not inner and rnd.random() < 0.5:
        out.append(f"<{name}/>")
    else:
        out.append(f"{gap()}<{name}>{inner}</{name}>" if shape.type_name in ("structure", "list", "map") else f"<{name}>{inner}</{name}>")


def gap():
    return rnd.choice(["", "\n    ", "<!-- c -->"])


def members(out, shape):
    names = list(shape.members)
    if shape.is_tagged_union:
        names = [rnd.choice(names)]
    for name in names:
        if shape.name.endswith("PendingModifiedValues") and name == "LogDeliveryConfigurations":
            continue  # of ElastiCache: the CLI's model names the element otherwise than the SDK's
        member = shape.members[name]
        if shape.is_tagged_union or rnd.random() < 0.6:
            out.append(gap())
            write(out, member.serialization.get("name", name), member)


for op in model.operation_names:
    shape = model.operation_model(op).output_shape
    if not op.startswith(("Describe", "Get", "List", "Search")) or shape is None:
        continue
    for _ in range(int(sys.argv[3])):
        out = []
        members(out, shape)
        body = "".join(out)
        if EC2:
            body = f"<requestId>r</requestId>{body}"
        else:
            body = f"<{op}Result>{body}</{op}Result><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>"
        space = model.metadata.get("xmlNamespace", "http://ec2.amazonaws.com/doc/2016-11-15")
        xml = f'<?xml version="1.0" encoding="UTF-8"?>\n<{op}Response xmlns="{space}/">{body}</{op}Response>'
        data = parser.parse({"status_code": 200, "headers": {}, "body": xml.encode()}, shape)
        data.pop("ResponseMetadata", None)
        print(json.dumps({"op": op, "xml": xml, "data": data}))
