"""Every packet is accounted for: the sender's count, the driver's count and Shunt's counters agree to the packet."""

from lab.frames import Tuple, Wire, ones_complement_sum, packet
from lab.network import LIVE_PORT, VIP, WEB_PORT
from lab.shunt import unbalanced
from lab.waiting import wait_until

CROWD = ("203.0.113.9", "2001:db8:c::9")


def accounts(lab):
    """What was sent, what the driver handed over, and what Shunt did, once nothing moves any more."""
    workers = lab.shunt.settled_workers()
    assert not unbalanced(workers)
    return {"sent": lab.network.sent_to_balancer(), "driver": lab.shunt.driver_count(), **lab.shunt.totals()}


def difference(before, after):
    return {kind: after[kind] - before[kind] for kind in before}


def test_connections_and_datagrams_are_counted_exactly(lab):
    before = accounts(lab)
    opener = lab.opener(VIP, count=1500, rate=500)
    live = lab.live(VIP, connections=100, udp_rate=500)
    wait_until(lambda: opener.report()["answered"] == 1500, 30, "1,500 connections")
    last = live.finish()
    opener.finish()
    assert last["troubles"] == {} and last["udp"]["lost"] == 0
    moved = difference(before, accounts(lab))
    assert moved["received"] == moved["driver"] == moved["sent"]
    assert moved["received"] > 1500 * 8
    assert moved["dropped"] == 0 and moved["originated"] == 0
    assert moved["forwarded"] + moved["punted"] == moved["received"]


def spoiled():
    """Frames for listeners that cannot be forwarded as they are, with the reason that must be named."""
    for source, vip in zip(CROWD, VIP):
        flow = Tuple(source, 40000, vip, WEB_PORT, "tcp")
        yield "hop_limit_exceeded", packet(flow, hop_limit=1)
        yield "header_truncated", truncated(packet(flow), 50 if ":" in source else 30)
    good = packet(Tuple(CROWD[0], 40000, VIP[0], WEB_PORT, "tcp"))
    yield "ipv4_checksum_bad", good[:10] + bytes([good[10] ^ 1]) + good[11:]


def truncated(content, length):
    """Cut off inside the transport header, with length fields that agree."""
    cut = bytearray(content[:length])
    if cut[0] >> 4 == 6:
        cut[4:6] = (length - 40).to_bytes(2, "big")
        return bytes(cut)
    cut[2:4] = length.to_bytes(2, "big")
    cut[10:12] = b"\0\0"
    cut[10:12] = ones_complement_sum(bytes(cut[:20])).to_bytes(2, "big")
    return bytes(cut)


def drops(shunt):
    found = {}
    for entry in shunt.ask("drops", "--all")["drops"]:
        found[entry["reason"]] = found.get(entry["reason"], 0) + entry["total"]
    return found


def test_spoiled_packets_are_dropped_for_a_named_reason(lab):
    shunt, each = lab.shunt, 10
    before, drops_before = accounts(lab), drops(shunt)
    wire, balancer = Wire(lab.client), Wire(lab.network.balancer, "lan0")
    expected = {}
    for reason, content in spoiled():
        expected[reason] = expected.get(reason, 0) + each
        for _ in range(each):
            wire.send(balancer.mac, content)
    total = sum(expected.values())
    wait_until(lambda: shunt.totals()["received"] >= before["received"] + total, 10, "the packets to be received")
    moved = difference(before, accounts(lab))
    wire.close()
    balancer.close()
    assert moved["received"] == moved["driver"] == moved["dropped"] == total
    named = {reason: number - drops_before.get(reason, 0) for reason, number in drops(shunt).items()}
    assert {reason: number for reason, number in named.items() if number} == expected


def test_packets_for_a_port_without_a_listener_stay_with_the_kernel(lab):
    before = accounts(lab)
    wire, balancer = Wire(lab.client), Wire(lab.network.balancer, "lan0")
    for source, vip in zip(CROWD, VIP):
        for protocol in ("tcp", "udp"):
            wire.send(balancer.mac, packet(Tuple(source, 40000, vip, LIVE_PORT + 1, protocol)))
    wait_until(lambda: len([flow for flow in balancer.arrived() if flow.target_port == LIVE_PORT + 1]) == 4, 5,
               "the kernel to see them")
    wire.close()
    balancer.close()
    assert difference(before, accounts(lab))["received"] == 0
