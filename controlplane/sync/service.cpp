#include "controlplane/sync/service.h"

#include <boost/asio/ip/multicast.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <utility>

#include "controlplane/sync/identity.h"
#include "src/base/clock.h"

namespace shunt::controlplane::sync {
namespace {

namespace asio = boost::asio;
using ErrorCode = boost::system::error_code;
using Udp = asio::ip::udp;

constexpr Duration retry = Duration::seconds(1);
constexpr int receive_buffer = 4 << 20;  // bytes; as much as the system allows

Instant now() { return MonotonicClock{}.now(); }

std::uint64_t random_word() {
    std::random_device entropy;
    return std::uint64_t{entropy()} << 32 | entropy();
}

asio::ip::address to_asio(const IpAddress& address) {
    const IpAddress::Bytes bytes = address.bytes();
    if (!address.is_v4()) return asio::ip::address_v6(bytes);
    return asio::ip::address_v4({bytes[12], bytes[13], bytes[14], bytes[15]});
}
Udp::endpoint to_asio(const AddressAndPort& at) { return {to_asio(at.address), at.port}; }

Address from_asio(const Udp::endpoint& at) {
    if (at.address().is_v4()) {
        const auto bytes = at.address().to_v4().to_bytes();
        return {IpAddress::v4(bytes[0], bytes[1], bytes[2], bytes[3]), at.port()};
    }
    return {IpAddress::v6(at.address().to_v6().to_bytes()), at.port()};
}

Result<Key> read_key(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    if (!file.is_open()) {
        return Error{.message = std::string("cannot read the key file: ") + std::strerror(errno),
                     .remedy = "check the path",
                     .file = path};
    }
    if (text.size() < 16) {
        return Error{.message = "the key file holds less than 16 bytes",
                     .remedy = "make one with `head -c 32 /dev/urandom`; the same on every node of the group",
                     .file = path};
    }
    return Key(std::as_bytes(std::span(text)));
}

}  // namespace

Service::Service(asio::io_context& io, std::string directory, Surroundings around)
    : io_(io), directory_(std::move(directory)), around_(std::move(around)), timer_(io) {}

void Service::follow(const config::DesiredState& wanted, std::uint64_t revision) {
    if (revision == revision_) return;
    revision_ = revision;
    configuration_ = configuration_hash(wanted);
    const bool same = settings_ == wanted.sync && name_ == wanted.node.name && flows_ == wanted.dataplane.flows;
    settings_ = wanted.sync;
    name_ = wanted.node.name;
    flows_ = wanted.dataplane.flows;
    if (!same) {
        end();
        not_before_ = {};
    }
}

void Service::wake() {
    if (settings_) turn();
}

Status Service::begin() {
    auto key = read_key(settings_->key_file);
    if (!key) return key.error();
    key_ = *std::move(key);
    identity_ = around_.tables_identity();
    auto table =
        PeerTable::open(directory_ + "/peers", {.buckets = peer_buckets(flows_),
                                                .seed = {{random_word(), random_word(), random_word(), random_word()}},
                                                .tables_identity = identity_,
                                                .now = now()});
    if (!table) return table.error();
    table_ = *std::move(table);
    if (const Status opened = open_sockets(); !opened) return opened;
    Settings settings{.name = name_,
                      .software = SHUNT_VERSION,
                      .group = settings_->group,
                      .key = *key_,
                      .flows = flows_,
                      .epoch = random_word() | 1};
    const AddressAndPort& first = settings_->peers.front();
    if (to_asio(first.address).is_multicast()) {
        settings.multicast_group = Address{first.address, first.port};
    } else {
        for (const AddressAndPort& peer : settings_->peers) settings.peers.push_back({peer.address, peer.port});
    }
    const auto send = [this](const Address& to, std::span<const std::byte> bytes) {
        ErrorCode lost;  // like one that the network loses
        listeners_.front()->socket.send_to(asio::buffer(bytes.data(), bytes.size()), {to_asio(to.address), to.port}, 0,
                                           lost);
    };
    seen_ = {};
    node_ = std::make_unique<Node>(std::move(settings), *table_, now(), send, around_.tell);
    for (const auto& listener : listeners_) listen(listener);
    return Done{};
}

void Service::end() {
    node_.reset();
    for (const auto& listener : listeners_) {
        ErrorCode ignored;
        listener->socket.close(ignored);
    }
    listeners_.clear();
    table_.reset();
}

Status Service::open_sockets() {
    const Udp::endpoint own = to_asio(settings_->listen);
    const Udp::endpoint group = to_asio(settings_->peers.front());
    const bool multicast = group.address().is_multicast();
    try {
        auto listener = std::make_shared<Listener>(io_);
        listener->socket.open(own.protocol());
        listener->socket.bind(own);
        listener->socket.non_blocking(true);
        listener->socket.set_option(asio::socket_base::receive_buffer_size(receive_buffer));
        if (multicast) {
            listener->socket.set_option(asio::ip::multicast::enable_loopback(false));
            if (own.address().is_v4()) {
                listener->socket.set_option(asio::ip::multicast::outbound_interface(own.address().to_v4()));
            }
            auto member = std::make_shared<Listener>(io_);
            member->socket.open(group.protocol());
            member->socket.set_option(Udp::socket::reuse_address(true));
            member->socket.bind(group);
            if (own.address().is_v4()) {
                member->socket.set_option(
                    asio::ip::multicast::join_group(group.address().to_v4(), own.address().to_v4()));
            } else {
                member->socket.set_option(asio::ip::multicast::join_group(group.address()));
            }
            listeners_ = {std::move(listener), std::move(member)};
        } else {
            listeners_ = {std::move(listener)};
        }
    } catch (const boost::system::system_error& error) {
        return Error{.message = "cannot listen on " +
                                address_and_port(settings_->listen.address, settings_->listen.port) + ": " +
                                error.code().message(),
                     .remedy = "sync.listen must be an address of this node and a free port",
                     .key = "sync.listen"};
    }
    return Done{};
}

void Service::listen(const std::shared_ptr<Listener>& listener) {
    const auto buffer = asio::buffer(listener->bytes.data(), listener->bytes.size());
    listener->socket.async_receive_from(
        buffer, listener->from, [this, listener](const ErrorCode& error, std::size_t size) {
            if (error == asio::error::operation_aborted || !listener->socket.is_open()) return;
            if (!error && node_) {
                node_->receive(from_asio(listener->from), std::span(listener->bytes).first(size), view(), now());
                turn();
            }
            if (listener->socket.is_open()) listen(listener);
        });
}

// Hashes are computed when what they are of is another.
View Service::view() {
    View view{.state = around_.state(), .left = {}, .tables = around_.tables(), .tables_identity = identity_};
    view.left = around_.left();
    if (view.tables.generation() != seen_) {
        seen_ = view.tables.generation();
        tables_hash_ = tables_hash(view.tables);
        seed_fingerprint_ = seed_fingerprint(*key_, view.tables.site_seed());
    }
    view.identity = {seed_fingerprint_, configuration_};
    view.tables_hash = tables_hash_;
    view.which = settings_->flows == config::SyncFlows::all ? Which::all : Which::pinned;
    const std::uint64_t incarnation = view.state ? view.state->header().incarnation : 0;
    if (incarnation != 0 && incarnation != std::exchange(incarnation_, incarnation)) node_->pull_again();
    return view;
}

void Service::turn() {
    if (node_ && identity_ != around_.tables_identity()) end();  // other ids: what was said by them means nothing
    if (!node_ && now() >= not_before_) {
        if (const Status begun = begin(); begun) {
            problem_.clear();
        } else {
            end();
            fail(begun.error());
        }
    }
    Instant next = not_before_;
    if (node_) {
        node_->advance(view(), now());
        next = node_->next_wakeup(now());
    }
    timer_.expires_at(asio::steady_timer::time_point(std::chrono::nanoseconds(next.nanoseconds)));
    timer_.async_wait([this](const ErrorCode& error) {
        if (!error) wake();
    });
}

// What goes on being wrong is said once.
void Service::fail(const Error& error) {
    not_before_ = now() + retry;
    if (problem_ == error.text()) return;
    problem_ = error.text();
    around_.tell(true, problem_);
}

bool Service::in_sync() const { return !settings_ || !node_ || node_->in_sync(now()); }

Standing Service::standing() const {
    return {settings_, problem_, node_ ? std::optional(node_->report(now())) : std::nullopt};
}

std::uint64_t Service::erase(const shm::FlowFilter& filter) {
    return table_ ? table_->erase(filter, around_.tables(), Tick::at(now())) : 0;
}

}  // namespace shunt::controlplane::sync
