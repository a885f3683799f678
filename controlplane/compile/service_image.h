// What one service needs of a generation: its numbers and its records.
#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "controlplane/compile/admission.h"
#include "controlplane/compile/book.h"
#include "controlplane/compile/image.h"
#include "controlplane/compile/next_hops.h"
#include "src/base/result.h"
#include "src/config/desired_state.h"
#include "src/shm/layout.h"

namespace shunt::controlplane {

struct ServiceNumbers {
    std::string name{};
    ServiceIndex index{};
    std::vector<ListenerIndex> listeners{};
    std::vector<shm::Handle> handles{};
};

struct ServiceImage {
    ServiceNumbers numbers{};
    shm::ServiceRecord record{};
    std::vector<ListenerImage> listeners{};      // in the order of numbers.listeners
    std::vector<shm::BackendRecord> backends{};  // in the order of numbers.handles
    std::array<FamilyTable, 2> tables{};         // for VIPs of IPv4, IPv6
};

struct ServiceInputs {
    const config::Service& service;
    const config::Timeouts& timeouts;  // of the data plane, for those the service leaves open
    std::span<const shm::Verdict> verdicts;
    const std::array<FamilyTable, 2>& before;  // tables to be used again where nothing changed
};

// Takes the numbers that the service lacks; those it no longer needs stay in force.
Result<ServiceImage> make_service_image(const ServiceInputs& inputs, const NextHops& hops, Book& book, Instant now);

// Whether this listener leads to this backend, so that the backend's replies may be the listener's.
bool leads_to(const shm::ListenerRecord& listener, const shm::BackendRecord& backend) noexcept;

}  // namespace shunt::controlplane
