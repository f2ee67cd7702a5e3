"""Compare the tables of a service with botocore's model: what the AWS CLI prints is named by it. Arguments: the
service, and the file with the tables."""
import glob, gzip, json, os, re, sys

import botocore

MODEL = max(glob.glob(os.path.join(os.path.dirname(botocore.__file__), "data", sys.argv[1], "*/service-2.json.gz")))
TYPES = {"string": "s", "character": "s", "integer": "i", "long": "i", "double": "f", "float": "f",
         "boolean": "b", "timestamp": "t", "blob": "x"}


model = json.load(gzip.open(MODEL))
EC2 = model["metadata"]["protocol"] == "ec2"
ELEMENT = "item" if EC2 else "member"


def wire_of(name):
    return name[0].lower() + name[1:] if EC2 else name


def tables(path):
    ops, shapes, at = {}, {}, None
    for line in open(path):
        line = re.sub("^const .* = `(%awsquery)?", "", line.rstrip("\n"))
        if line.startswith("@"):
            at = ops.setdefault(line[1:].split()[0], {})
        elif re.fullmatch(r"=\w+", line):
            at = shapes.setdefault(line[1:], {})
        elif at is not None and re.match(r"[A-Z]\S* \S+$", line):
            name, typ = line.split(" ")
            name, _, wire = name.partition("/")
            at[name] = (wire or wire_of(name), typ)
    return ops, shapes


ops, shapes = tables(sys.argv[2])
wrong, done, members = [], set(), 0


def value(where, typ, name):
    shape = model["shapes"][name]
    if shape["type"] == "list" and shape.get("flattened"):
        wrong.append(f"{where}: {typ}, but the list is flat")
    elif shape["type"] == "list":
        m = re.match(r"\[(\w*)\](.*)", typ)
        if not m:
            wrong.append(f"{where}: {typ}, no list")
            return
        if (m[1] or ELEMENT) != shape["member"].get("locationName", "member"):
            wrong.append(f"{where}: elements are {shape['member'].get('locationName')}")
        value(where + "[]", m[2], shape["member"]["shape"])
    elif shape["type"] == "map":
        m = re.match(r"\{(?:(\w+),(\w+))?\}(.*)", typ)
        if not m:
            wrong.append(f"{where}: {typ}, no map")
            return
        names = shape["key"].get("locationName", "key"), shape["value"].get("locationName", "value")
        if (m[1] or "key", m[2] or "value") != names or shape.get("flattened"):
            wrong.append(f"{where}: entries have {names}")
        value(where + "{}", m[3], shape["value"]["shape"])
    elif shape["type"] == "structure":
        if typ not in shapes:
            wrong.append(f"{where}: {typ}, no structure")
        elif (typ, name) not in done:
            done.add((typ, name))
            structure(typ, shapes[typ], name)
    elif TYPES[shape["type"]] != typ:
        wrong.append(f"{where}: {typ}, but {shape['type']}")


def structure(where, have, name):
    global members
    for member, ref in model["shapes"][name].get("members", {}).items():
        members += 1
        if member not in have:
            wrong.append(f"{where}.{member}: missing")
            continue
        wire, typ = have[member]
        if wire != ref.get("locationName", member):
            wrong.append(f"{where}.{member}: {wire}, but {ref.get('locationName')}")
        value(f"{where}.{member}", typ, ref["shape"])


compared = 0
for op, have in ops.items():
    out = model["operations"].get(op, {}).get("output")
    if out:  # the SDK may know newer ones
        compared += 1
        structure(op, have, out["shape"])
print(json.dumps({"Operations": compared, "Members": members, "Wrong": wrong}))
