// What has to be done to the addresses of a device.
#include <gtest/gtest.h>

#include "controlplane/network/announcer.h"

namespace shunt::controlplane {
namespace {

IpAddress address(const char* text) { return *IpAddress::parse(text); }

std::string text(const AddressChanges& changes) {
    std::string all;
    for (const DeviceAddress& old : changes.remove) all += "-" + old.address.text() + " ";
    for (const IpAddress& added : changes.add) all += "+" + added.text() + " ";
    return all;
}

TEST(AddressChanges, AddWhatIsMissingAndTakeAwayWhatIsNotWanted) {
    const std::vector<DeviceAddress> present{{address("198.18.0.10"), 32, true}, {address("2001:db8::11"), 128, true}};
    EXPECT_EQ(text(address_changes(present, {address("198.18.0.10"), address("2001:db8::10")})),
              "-2001:db8::11 +2001:db8::10 ");
    EXPECT_EQ(text(address_changes(present, {})), "-198.18.0.10 -2001:db8::11 ");
    EXPECT_EQ(text(address_changes(present, {address("2001:db8::11"), address("198.18.0.10")})), "");
}

TEST(AddressChanges, NeverTouchWhatIsNotOurs) {
    const std::vector<DeviceAddress> present{{address("198.18.0.10"), 24, false}, {address("fe80::1"), 64, false}};
    EXPECT_EQ(text(address_changes(present, {})), "");
    EXPECT_EQ(text(address_changes(present, {address("198.18.0.10")})), "") << "it is there, whoever put it there";
}

TEST(AddressChanges, NameEachOnce) {
    EXPECT_EQ(text(address_changes({}, {address("198.18.0.10"), address("198.18.0.10")})), "+198.18.0.10 ");
}

}  // namespace
}  // namespace shunt::controlplane
