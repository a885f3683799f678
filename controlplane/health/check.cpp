#include "controlplane/health/check.h"

namespace shunt::controlplane {

std::string CheckSpec::text() const {
    const std::string target = address_and_port(address, check.port.value_or(0));
    return check.type == config::CheckType::tcp ? "tcp " + target : "http " + target + " " + check.path;
}

CheckSpec check_spec(const IpAddress& address, std::uint16_t wire_port, const config::Check& check) {
    CheckSpec spec{address, check};
    spec.check.port = check.port.value_or(wire_port);
    return spec;
}

std::string_view to_string(Outcome outcome) noexcept {
    switch (outcome) {
        case Outcome::ok:
            return "ok";
        case Outcome::refused:
            return "refused";
        case Outcome::timeout:
            return "timeout";
        case Outcome::reset:
            return "reset";
        case Outcome::unreachable:
            return "unreachable";
        case Outcome::bad_status:
            return "bad_status";
        case Outcome::protocol_error:
            return "protocol_error";
        case Outcome::not_run:
            return "not_run";
    }
    return "?";
}

}  // namespace shunt::controlplane
