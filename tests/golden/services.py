"""The services most golden packets are for: one of every mode, and of every family a tunnel can have outside."""

from oracle import Service, Setup, backend_of, vip_of

INNER_MAC = "02:00:00:00:0c:01"


def tunnel(n, name, mode, family, **settings):
    return Service(f"{name}{family}", mode, vip_of(n), backend_of(n, family), tunnel=settings)


def tunnels(first, name, mode, **settings):
    return [tunnel(first, name, mode, 4, **settings), tunnel(first + 1, name, mode, 6, **settings)]


def all_services():
    return [
        Service("web", "nat", vip_of(10), backend_of(11), backend_port=8080),
        Service("follows", "nat", vip_of(10), backend_of(11), vip_port=80),
        Service("direct", "direct", vip_of(20), backend_of(20)),
        Service("l3dsr", "l3dsr", vip_of(30), backend_of(30), dscp=10),
        *tunnels(40, "ipip", "ipip"),
        *tunnels(42, "gre", "gre"),
        *tunnels(44, "grekey", "gre", key=7),
        *tunnels(46, "gue", "gue"),
        *tunnels(48, "gueport", "gue", port=5555),
        *tunnels(50, "vxlan", "vxlan", vni=0x123456, inner_mac=INNER_MAC),
        *tunnels(52, "vxlanport", "vxlan", vni=7, inner_mac=INNER_MAC, port=8472),
    ]


NAT, NAT_FOLLOWS = "web", "follows"
STATELESS = ("direct", "l3dsr")
TUNNEL_NAMES = tuple(f"{name}{family}" for name in ("ipip", "gre", "grekey", "gue", "gueport", "vxlan", "vxlanport") for family in (4, 6))
MAIN_TUNNELS = tuple(f"{name}{family}" for name in ("ipip", "gre", "gue", "vxlan") for family in (4, 6))


def everything(name="plain", **more):
    return Setup(name, all_services(), **more)
