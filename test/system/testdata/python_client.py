# A session of an independent client: what Debian's pylxd, which is older than this API, has of it.
import sys
import threading
import time
import warnings

from pylxd import Client
from pylxd.exceptions import LXDAPIException, NotFound

warnings.simplefilter("ignore")
image_file, = sys.argv[1:]
c = Client()


def refused(kind, call):
    try:
        call()
    except kind:
        return
    raise AssertionError("it is not refused with " + kind.__name__)


assert c.trusted and c.has_api_extension("projects")
assert c.host_info["environment"]["server"] == "lxd"

# events come while the rest is done
heard = []
events = c.events()
events.received_message = lambda m: heard.append(m.data)
events.connect()
threading.Thread(target=events.run, daemon=True).start()

c.profiles.create("web", config={"user.a": "1"}, devices={})
p = c.profiles.get("web")
p.config["user.b"] = "2"
p.save(wait=True)
assert c.profiles.get("web").config == {"user.a": "1", "user.b": "2"}
p.rename("web2")
assert c.profiles.exists("web2") and not c.profiles.exists("web")
c.profiles.get("web2").delete()
refused(NotFound, lambda: c.profiles.get("web2"))

with open(image_file, "rb") as f:
    i = c.images.create(f.read(), public=False, wait=True)
i.add_alias("bb", "small")
assert c.images.get_by_alias("bb").fingerprint == i.fingerprint
i = c.images.get(i.fingerprint)
i.properties["colour"] = "red"
i.save(wait=True)
assert c.images.get(i.fingerprint).properties["colour"] == "red"
assert len(i.export().read()) == i.size
i.delete_alias("bb")
i.delete(wait=True)
assert not c.images.exists(i.fingerprint)

n = c.networks.create("py0", description="one", type="bridge", config={"ipv4.address": "none", "ipv6.address": "none"})
n.description = "two"
n.save()
assert c.networks.get("py0").description == "two" and "py0" in [n.name for n in c.networks.all()]
c.networks.get("py0").delete()

s = c.storage_pools.create({"name": "pool", "driver": "dir"})
assert s.resources.get().space["total"] > 0
v = s.volumes.create({"name": "data", "type": "custom"}, wait=True)
v.config["user.a"] = "1"
v.save(wait=True)
assert s.volumes.get("custom", "data").config["user.a"] == "1"
refused(LXDAPIException, s.delete)
v.delete()
for _ in range(100):
    if not s.volumes.all():
        break
    time.sleep(0.05)
s.delete()

assert c.certificates.all() == []
refused(NotFound, lambda: c.operations.get("00000000-0000-0000-0000-000000000000"))
for _ in range(100):
    if any(b"profile-deleted" in m for m in heard) and any(b'"operation"' in m for m in heard):
        break
    time.sleep(0.05)
else:
    raise AssertionError("these events came: %r" % heard)
events.close()
print("done")
