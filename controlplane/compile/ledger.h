// The image of the whole and the numbers in it, kept up to date service by service. Nothing here can fail: what could
// was settled before.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <vector>

#include "controlplane/compile/book.h"
#include "controlplane/compile/image.h"
#include "controlplane/compile/next_hops.h"
#include "controlplane/compile/service_image.h"
#include "src/shm/tables.h"

namespace shunt::controlplane {

class Ledger {
  public:
    Ledger() = default;
    // As published. Slots, routes and addresses of this host are not read back: they follow from what is compiled.
    explicit Ledger(const shm::Tables& published);

    Book& book() noexcept { return book_; }
    Image& image() noexcept { return image_; }
    const Image& image() const noexcept { return image_; }
    // The numbers of every service in force.
    std::vector<ServiceNumbers> services() const;

    // A change: first everything that goes, then what comes, then what follows from both.
    void take_out(const ServiceNumbers& before, const ServiceNumbers& after, Instant now);  // `after` empty: removed
    void put_in(const ServiceImage& service);
    void set_routes(const NextHops& hops);
    void finish(const NextHops& hops, Instant now);

  private:
    // An address's listeners of several ports, in the order of their ports: the whole address first.
    using Ranges = std::map<PortRange, ListenerIndex>;
    using Span = std::span<const ListenerIndex>;

    void admit_listener(ListenerIndex index);
    void retire_listener(ListenerIndex index, Instant now);
    Ranges& ranges_of(const Vip& vip);
    void write_ranges(const Endpoint& all_ports);
    ListenerIndex write_tree(Span ranges);
    void retire_handle(shm::Handle handle, Instant now);
    bool is_tunnel_end(const shm::BackendRecord& backend) const;
    void relate(const ServiceNumbers& service, bool related);
    void write_source(SourceNumber number, Instant now);
    void write_hop(NextHopIndex index, const NextHops& hops, Instant now);

    Book book_{};
    Image image_{};
    std::vector<std::set<ListenerIndex>> source_listeners_{};  // by source number
    std::vector<std::uint32_t> hop_uses_{};                    // by next hop: handles that need it
    std::map<Endpoint, Ranges> ranges_{};                      // by address, any_port and protocol
    std::set<Endpoint> touched_ranges_{};
    std::set<SourceNumber> touched_sources_{};
    std::set<NextHopIndex> touched_hops_{};
};

}  // namespace shunt::controlplane
