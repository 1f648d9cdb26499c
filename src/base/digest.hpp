// The digests that drbd.conf can name for data-integrity-alg, csums-alg, verify-alg and cram-hmac-alg,
// as the kernel's crypto API computes them (wire protocol 7.3 and 5.4).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace duplex {

enum class DigestAlgorithm : uint8_t { crc32, crc32c, md5, sha1, sha256, sha384, sha512 };

inline constexpr size_t digest_bytes_max = 64;

struct DigestValue {
    std::array<uint8_t, digest_bytes_max> bytes{};
    size_t size = 0;
    std::span<const uint8_t> view() const { return {bytes.data(), size}; }
    bool equals(std::span<const uint8_t> other) const;  // in constant time
};

// nullopt for a name that is not supported.
std::optional<DigestAlgorithm> digest_from_name(std::string_view name);
std::string_view name_of(DigestAlgorithm algorithm);
size_t digest_size_bytes(DigestAlgorithm algorithm);

DigestValue digest(DigestAlgorithm algorithm, std::span<const uint8_t> data);

// HMAC keyed with the secret; the algorithm must not be crc32 or crc32c.
DigestValue hmac(DigestAlgorithm algorithm, std::string_view secret, std::span<const uint8_t> message);
bool can_hmac(DigestAlgorithm algorithm);

}  // namespace duplex
