// Says what an examination of a state finds: with the key, the pointer, and the place where it is known.
#pragma once

#include <string>
#include <utility>

#include "src/config/reader.h"
#include "src/config/validate.h"

namespace shunt::config {

inline std::string quoted(const std::string& text) { return "\"" + text + "\""; }
inline std::string number(std::size_t n) { return std::to_string(n); }
constexpr std::string_view name_of(Family family) { return family == Family::ipv4 ? "IPv4" : "IPv6"; }

class Finder {
  public:
    Finder(const DesiredState& state, const Positions& positions) : state_(state), positions_(positions) {}

    const DesiredState& state() const noexcept { return state_; }
    Findings take() { return std::move(findings_); }

    void refuse(const Path& path, std::string message, std::string remedy) {
        put(findings_.errors, path, std::move(message), std::move(remedy));
    }
    void warn(const Path& path, std::string message, std::string remedy) {
        put(findings_.warnings, path, std::move(message), std::move(remedy));
    }

    static Path top(std::string_view key) { return Path{}.child(key); }
    Path at(const Service& service) const {
        const auto index = static_cast<std::size_t>(&service - state_.services.data());
        return top("service").element(index, service.name);
    }
    Path at(const Service& service, const Backend& backend) const {
        const auto index = static_cast<std::size_t>(&backend - service.backends.data());
        return at(service).child("backend").element(index, label(backend));
    }
    Path at(const NextHop& hop) const {
        const auto index = static_cast<std::size_t>(&hop - state_.next_hops.data());
        return top("next_hop").element(index, hop.address.text());
    }
    Path at(const Port& port) const {
        const auto index = static_cast<std::size_t>(&port - state_.dataplane.ports.data());
        return top("dataplane").child("port").element(index, port.name);
    }
    Path at_vip(const Service& service, std::size_t index) const { return at(service).child("vip").element(index); }

  protected:
    const DesiredState& state_;

  private:
    static constexpr std::size_t most_findings = 100;  // of each kind: nobody reads more

    void put(std::vector<Error>& list, const Path& path, std::string message, std::string remedy) {
        if (list.size() >= most_findings) return;
        Error error{
            .message = std::move(message), .remedy = std::move(remedy), .key = path.key, .pointer = path.pointer};
        positions_.locate(error);
        list.push_back(std::move(error));
    }

    const Positions& positions_;
    Findings findings_{};
};

// What the forwarding modes ask of their services, and of the way to the backends.
void examine_modes(Finder& finder);

// What the schedulers ask of theirs.
void examine_schedulers(Finder& finder);
// What services of several ports, or of a whole address, ask of each other and of their backends.
void examine_ranges(Finder& finder);
// Where this node answers about itself, and what it tells its peer.
void examine_ha(Finder& finder);
// How it speaks with its peers of flows.
void examine_sync(Finder& finder);

}  // namespace shunt::config
