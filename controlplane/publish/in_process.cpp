#include "controlplane/publish/in_process.h"

namespace shunt::controlplane {
namespace {

// Of address space; memory is taken as it is used.
constexpr std::uint64_t tables_bytes = std::uint64_t{4} << 30;

shm::Region make_state(const shm::StateShape& shape, const HashSeed& flow_seed, shm::Region::Pages pages) {
    shm::Region region = shm::Region::anonymous(shm::StateLayout::of(shape).total, pages);
    shm::format_state(region.data(), shape, flow_seed);
    return region;
}

}  // namespace

InProcess::InProcess(const shm::StateShape& shape, const HashSeed& flow_seed, shm::Region::Pages pages)
    : publisher_(Publisher::in_memory(tables_bytes, {}, pages)),
      state_(make_state(shape, flow_seed, pages)),
      acceptor_(publisher_.region(), publisher_.readable_bytes(), state().header()) {
    publisher_.follow(state_.data());
}

Status InProcess::publish(const Image& image) {
    const auto generation = publisher_.publish(image);
    if (!generation) return generation.error();
    acceptor_.set_source(publisher_.region(), publisher_.readable_bytes());
    if (const auto tables = acceptor_.validate_newest()) acceptor_.accept(*tables);
    if (state().header().accepted.load() == generation->value) return Done{};
    return Error{.message = "the tables are not valid", .remedy = "this is a defect of Shunt: please report it"};
}

}  // namespace shunt::controlplane
