"""What a worker hands back, the kernel takes: it asks for neighbours, and answers what no service is for."""

import json
import socket

from lab.loop import as_target, family_of
from lab.network import BALANCER, CLIENT_PREFIXES, VIP, WEB_PORT
from lab.waiting import wait_until

NEW_CLIENTS = 10
OTHER_PORT = 5353  # at the VIP, and no service's


def punt_devices(lab):
    links = json.loads(lab.network.balancer.ip("-json", "link", "show"))
    return [link for link in links if link["ifname"].startswith("punt-")]


def dropped(shunt, reason):
    return sum(entry["total"] for entry in shunt.ask("drops")["drops"] if entry["reason"] == reason)


def test_the_device_goes_and_comes_with_the_process(lab, shunt):
    (device,) = punt_devices(lab)
    (port,) = json.loads(lab.network.balancer.ip("-json", "link", "show", "dev", "lan0"))
    assert device["ifname"].startswith("punt-lan0-")
    assert (device["address"], device["mtu"]) == (port["address"], port["mtu"])
    shunt.kill("dataplane")
    assert punt_devices(lab) == []
    shunt.start_dataplane()
    assert [found["ifname"] for found in punt_devices(lab)] == [device["ifname"]]
    shunt.wait_serving()


def test_replies_to_clients_that_nobody_has_asked_for_yet(lab, shunt):
    """Their first reply goes by the punt device, translated, and the kernel finds the client."""
    for gateway in BALANCER:  # whoever asks for the gateway's link address tells his own
        lab.client.run("ping", "-c", "1", "-W", "2", gateway)
    before, refused = shunt.totals()["punted"], dropped(shunt, "punt_refused")
    for number in range(NEW_CLIENTS):
        for prefix, vip in zip(CLIENT_PREFIXES, VIP):
            client = prefix.replace("0/24", f"{100 + number}").replace("::/64", f"::{100 + number}")
            nodad = ["nodad"] if ":" in client else []
            lab.client.ip("addr", "add", f"{client}/{prefix.split('/')[1]}", "dev", "eth0", *nodad)
            url = f"http://{as_target(vip, WEB_PORT)}/"
            assert lab.client.run("curl", "-sg", "--interface", client, "--max-time", "5", url).startswith("b")
    assert shunt.totals()["punted"] >= before + 2 * NEW_CLIENTS
    assert dropped(shunt, "punt_refused") == refused


def test_fragments_to_the_vip_that_are_no_services_reach_the_kernel(lab, shunt):
    for vip in VIP:
        lab.client.run("ping", "-c", "3", "-i", "0.1", "-W", "2", "-s", "3000", vip)
        with lab.network.balancer.entered():
            server = socket.socket(family_of(vip), socket.SOCK_DGRAM)
        server.bind((vip, OTHER_PORT))
        server.settimeout(5)
        with lab.client.entered():
            client = socket.socket(family_of(vip), socket.SOCK_DGRAM)
        client.sendto(bytes(range(250)) * 32, (vip, OTHER_PORT))
        assert server.recv(65536) == bytes(range(250)) * 32
        server.close()
        client.close()


def test_the_reverse_path_filter_of_the_whole_host_is_named(lab, shunt):
    lab.network.balancer.sysctl(net__ipv4__conf__all__rp_filter=1)
    try:
        warning = next(text for text in shunt.ask("status")["warnings"] if "rp_filter" in text)
        assert warning.startswith("net.ipv4.conf.all.rp_filter is 1: ")
        wait_until(lambda: "net.ipv4.conf.all.rp_filter is 1" in lab.log("shunt-dataplane").read_text(), 5,
                   "the data plane to say so")
    finally:
        lab.network.balancer.sysctl(net__ipv4__conf__all__rp_filter=0)
    assert not any("rp_filter" in text for text in shunt.ask("status")["warnings"])
