// The loader: attaching, adopting what a predecessor left, replacing, refusing; and what a port asks of its interface.
// On veth pairs in network namespaces of the test's own. Needs root.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "dataplane/xdp/steering.h"
#include "tests/support/network_namespace.h"

namespace shunt::dataplane::xdp {
namespace {

using test::NetworkNamespace;

constexpr MacAddress port_mac{{0x02, 0, 0, 0, 0, 0x01}};

IpAddress address(const char* text) { return IpAddress::parse(text).value(); }

Endpoint endpoint(const char* text, std::uint16_t port) {
    return {.address = address(text), .port = Be16(port), .protocol = Protocol::tcp};
}

// A program of one instruction pair that passes everything, as somebody else might attach it.
Descriptor foreign_program(const char* name) {
    const std::array<bpf_insn, 2> code = {
        bpf_insn{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = XDP_PASS},
        bpf_insn{.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
    return Descriptor(bpf_prog_load(BPF_PROG_TYPE_XDP, name, "GPL", code.data(), code.size(), nullptr));
}

class XdpSteering : public testing::Test {
  protected:
    void SetUp() override {
        NetworkNamespace::run("ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up");
        const auto interface = find_interface("v0");
        ASSERT_TRUE(interface) << interface.error().text();
        interface_ = *interface;
    }

    std::optional<Steering> attach(Mode mode = Mode::native) const {
        auto steering = Steering::attach(interface_, mode);
        EXPECT_TRUE(steering) << steering.error().text();
        if (!steering) return std::nullopt;
        return *std::move(steering);
    }
    std::string refusal(Mode mode = Mode::native) const {
        const auto steering = Steering::attach(interface_, mode);
        EXPECT_FALSE(steering);
        return steering ? "" : steering.error().text();
    }
    std::uint32_t attached_id() const {
        const auto program = attached_program(interface_);
        EXPECT_TRUE(program);
        return program ? program->id : 0;
    }
    void attach_foreign(const char* name) {
        const Descriptor program = foreign_program(name);
        ASSERT_EQ(bpf_xdp_attach(interface_.index, program.get(), XDP_FLAGS_DRV_MODE, nullptr), 0);
    }
    // Our own object with another build number: what an older or newer Shunt would have left.
    void attach_other_build() {
        const std::unique_ptr<bpf_object, decltype(&bpf_object__close)> object(bpf_object__open(STEER_OBJECT),
                                                                               bpf_object__close);
        ASSERT_NE(object, nullptr) << STEER_OBJECT;
        const std::uint64_t build = 1;
        auto* map = bpf_object__find_map_by_name(object.get(), ".rodata.shunt");
        ASSERT_EQ(bpf_map__set_initial_value(map, &build, sizeof build), 0);
        ASSERT_EQ(bpf_object__load(object.get()), 0);
        const auto* program = bpf_object__find_program_by_name(object.get(), "xsk_def_prog");
        ASSERT_EQ(bpf_xdp_attach(interface_.index, bpf_program__fd(program), XDP_FLAGS_DRV_MODE, nullptr), 0);
    }

    NetworkNamespace namespace_;
    Interface interface_;
};

TEST_F(XdpSteering, StaysAttachedWhenItsProcessGoesAndIsAdoptedWithAllItHolds) {
    std::uint32_t id = 0;
    {
        auto steering = attach();
        id = steering->program().id;
        ASSERT_TRUE(steering->set_port(port_mac, {}));
        ASSERT_TRUE(steering->admit(
            {.listeners = {endpoint("198.18.0.10", 443)}, .backends = {endpoint("198.18.2.11", 8443)}}));
    }
    EXPECT_EQ(attached_id(), id);
    auto successor = attach();
    EXPECT_EQ(successor->program().id, id);
    const auto listeners = [&] { return KernelSet::open(interface_, successor->program(), "listeners")->size(); };
    const auto backends = [&] { return KernelSet::open(interface_, successor->program(), "backends")->size(); };
    EXPECT_EQ(listeners(), 1);
    const SteeringSet wanted{.listeners = {endpoint("198.18.0.11", 443)}, .backends = {endpoint("198.18.2.11", 8443)}};
    ASSERT_TRUE(successor->admit(wanted));
    EXPECT_EQ(listeners(), 2);
    ASSERT_TRUE(successor->retire(wanted));
    EXPECT_EQ(listeners(), 1) << "the predecessor's listener goes";
    EXPECT_EQ(backends(), 1) << "what is still wanted stays";
}

TEST_F(XdpSteering, AnInterfaceHasOneDataPlane) {
    const auto first = attach();
    EXPECT_NE(refusal().find("v0 is in use by another shunt-dataplane; stop that one"), std::string::npos);
    EXPECT_FALSE(Steering::detach(interface_));
    EXPECT_EQ(attached_id(), first->program().id);
}

TEST_F(XdpSteering, AnotherBuildsLeftoverIsReplaced) {
    attach_other_build();
    const auto left = attached_program(interface_);
    ASSERT_TRUE(left);
    ASSERT_EQ(build_of(*left), std::optional<std::uint64_t>(1));
    const auto steering = attach();
    EXPECT_NE(steering->program().id, left->id);
    EXPECT_EQ(attached_id(), steering->program().id);
}

TEST_F(XdpSteering, AForeignProgramIsRefusedByNameAndLeftAlone) {
    for (const char* name : {"firewall", "xsk_def_prog"}) {  // the second is what libxdp calls its own
        attach_foreign(name);
        const auto id = attached_id();
        const auto text = refusal();
        EXPECT_NE(text.find("v0 carries the XDP program \"" + std::string(name) + "\""), std::string::npos) << text;
        EXPECT_NE(text.find("ip link set dev v0 xdpdrv off"), std::string::npos) << text;
        EXPECT_FALSE(Steering::detach(interface_));
        EXPECT_EQ(attached_id(), id);
        ASSERT_EQ(bpf_xdp_detach(interface_.index, XDP_FLAGS_DRV_MODE, nullptr), 0);
    }
}

TEST_F(XdpSteering, DetachRemovesOursOfAnyBuildAndIsContentWithNone) {
    EXPECT_TRUE(Steering::detach(interface_));
    attach();
    EXPECT_NE(attached_id(), 0);
    EXPECT_TRUE(Steering::detach(interface_));
    EXPECT_EQ(attached_id(), 0);
    attach_other_build();
    EXPECT_TRUE(Steering::detach(interface_));
    EXPECT_EQ(attached_id(), 0);
}

TEST_F(XdpSteering, TheOtherModeReplacesAProgramOfOurs) {
    for (const auto mode : {Mode::generic, Mode::native, Mode::generic}) {
        const auto steering = attach(mode);
        const auto program = attached_program(interface_);
        ASSERT_TRUE(program);
        EXPECT_EQ(program->mode, mode);
        EXPECT_EQ(program->id, steering->program().id);
    }
}

TEST_F(XdpSteering, GenericIsNotChosenForADriverWithoutNativeXdp) {
    NetworkNamespace::run("ip link add b0 type ifb && ip link set b0 up");
    const auto ifb = find_interface("b0");
    ASSERT_TRUE(ifb) << ifb.error().text();
    const auto native = Steering::attach(*ifb, Mode::native);
    ASSERT_FALSE(native);
    EXPECT_NE(native.error().text().find("set xdp = \"generic\""), std::string::npos) << native.error().text();
    const auto generic = Steering::attach(*ifb, Mode::generic);
    EXPECT_TRUE(generic) << generic.error().text();
}

TEST_F(XdpSteering, AnMtuTooLargeForXdpIsNamed) {
    NetworkNamespace::run("ip link set v0 mtu 9000 && ip link set v1 mtu 9000");
    const auto text = refusal();
    EXPECT_NE(text.find("ip link set dev v0 mtu 1500"), std::string::npos) << text;
}

TEST_F(XdpSteering, ThePortsAndTheHostsAddressesReplaceThoseBefore) {
    auto steering = attach();
    const auto count = [&](const char* map) { return KernelSet::open(interface_, steering->program(), map)->size(); };
    ASSERT_TRUE(steering->set_port(port_mac, std::array{MacAddress{{0, 0, 0x5e, 0, 1, 7}}}));
    EXPECT_EQ(count("port_macs"), 2);
    ASSERT_TRUE(steering->set_port(port_mac, {}));
    EXPECT_EQ(count("port_macs"), 1);
    ASSERT_TRUE(steering->set_local_addresses(std::array{address("198.18.1.11"), address("2001:db8::1")}));
    EXPECT_EQ(count("local_addrs"), 2);
    ASSERT_TRUE(steering->set_local_addresses(std::array{address("198.18.1.12")}));
    EXPECT_EQ(count("local_addrs"), 1);
}

TEST_F(XdpSteering, AFullMapIsAnErrorThatNamesIt) {
    auto steering = attach();
    SteeringSet set;
    for (std::uint32_t i = 0; i <= steer_max_listeners; ++i) {
        set.listeners.push_back({.address = IpAddress::v4(Be32(0xc6120000 + i / 1000)),
                                 .port = Be16(static_cast<std::uint16_t>(i % 1000 + 1)),
                                 .protocol = Protocol::tcp});
    }
    const auto done = steering->admit(set);
    ASSERT_FALSE(done);
    EXPECT_NE(done.error().text().find("v0, steering map listeners: cannot take another entry: it is full with 65536"),
              std::string::npos)
        << done.error().text();
    set.listeners.pop_back();
    EXPECT_TRUE(steering->admit(set));
    EXPECT_TRUE(steering->retire({}));
    EXPECT_EQ(KernelSet::open(interface_, steering->program(), "listeners")->size(), 0);
}

TEST_F(XdpSteering, WithoutRightsItSaysWhichAreMissing) {
    std::string text;
    std::thread([&] {  // rights belong to a thread
        __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
        const std::array<__user_cap_data_struct, 2> none{};
        ASSERT_EQ(::syscall(SYS_capset, &header, none.data()), 0);
        text = refusal();
    })
        .join();
    EXPECT_NE(text.find("Operation not permitted"), std::string::npos) << text;
    EXPECT_NE(text.find("run it as root, or with the capabilities CAP_NET_ADMIN"), std::string::npos) << text;
}

using XdpInterface = XdpSteering;

TEST_F(XdpInterface, IsDescribed) {
    NetworkNamespace::run("ip link set v0 address 02:00:00:00:00:2a mtu 1400");
    const auto found = find_interface("v0");
    ASSERT_TRUE(found);
    EXPECT_EQ(found->name, "v0");
    EXPECT_EQ(found->index, static_cast<int>(::if_nametoindex("v0")));
    EXPECT_EQ(found->mac.text(), "02:00:00:00:00:2a");
    EXPECT_EQ(found->mtu, 1400);
}

TEST_F(XdpInterface, OneThatDoesNotExistIsRefusedWithThoseThatDo) {
    for (const std::string name : {"eth9", "v", "an-interface-name-too-long", ""}) {
        const auto found = find_interface(name);
        ASSERT_FALSE(found);
        EXPECT_EQ(found.error().text(), "there is no interface " + name + "; the interfaces here are: lo, v1, v0");
    }
    EXPECT_NE(find_interface("lo").error().text().find("lo is no Ethernet"), std::string::npos);
}

TEST_F(XdpInterface, TheNumberOfQueuesMustBeTheOneWanted) {
    NetworkNamespace::run(
        "ip link add w0 numrxqueues 4 numtxqueues 4 type veth peer name w1 numrxqueues 4 numtxqueues 4");
    NetworkNamespace::run("ethtool -L w0 rx 2 tx 2");
    const auto interface = *find_interface("w0");
    EXPECT_TRUE(require_queues(interface, 2));
    const auto refused = require_queues(interface, 4);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().text(), "interface w0 has 2 receive queues, but queues = 4; ethtool -L w0 rx 4 tx 4");
    NetworkNamespace::run(refused.error().remedy);
    EXPECT_TRUE(require_queues(interface, 4)) << "the remedy helps";
    EXPECT_EQ(require_queues(interface, 1).error().remedy, "ethtool -L w0 rx 1 tx 1");
    EXPECT_EQ(require_queues(interface, 5).error().remedy, "it can have 1 to 4: set queues = 4");
}

TEST_F(XdpInterface, ReceiveVlanOffloadIsSwitchedOff) {
    NetworkNamespace::run("ethtool -K v0 rxvlan on && ethtool -k v0 | grep -q 'rx-vlan-offload: on'");
    const auto done = prepare_offloads(interface_);
    EXPECT_TRUE(done) << done.error().text();
    NetworkNamespace::run("ethtool -k v0 | grep -q 'rx-vlan-offload: off'");
    EXPECT_TRUE(prepare_offloads(interface_));
}

}  // namespace
}  // namespace shunt::dataplane::xdp
