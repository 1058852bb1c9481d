#pragma once

// Result<T>: a value or an NtStatus. The names are those of std::expected, which this pair of
// compilers does not have. Ours because core, lfs and usn build without exceptions.

#include <new>
#include <type_traits>
#include <utility>

#include "core/base/assert.h"
#include "core/base/status.h"

namespace ntfs {

template <typename T = void>
class [[nodiscard]] Result {
 public:
  using value_type = T;

  // NOLINTNEXTLINE(google-explicit-constructor): `return status;` and `return value;` are the
  // idiom.
  Result(NtStatus error) : error_(error) { ASSERT(error != NtStatus::Success); }
  template <typename U = T, typename = std::enable_if_t<std::is_constructible_v<T, U&&> &&
                                                        !std::is_same_v<std::decay_t<U>, Result> &&
                                                        !std::is_same_v<std::decay_t<U>, NtStatus>>>
  // NOLINTNEXTLINE(google-explicit-constructor)
  Result(U&& value) : error_(NtStatus::Success) {
    ::new (static_cast<void*>(&value_)) T(std::forward<U>(value));
  }
  Result(Result&& other) noexcept : error_(other.error_) {
    if (has_value()) ::new (static_cast<void*>(&value_)) T(std::move(other.value_));
  }
  Result(const Result&) = delete;
  Result& operator=(const Result&) = delete;
  Result& operator=(Result&& other) noexcept {
    if (this != &other) {
      this->~Result();
      ::new (static_cast<void*>(this)) Result(std::move(other));
    }
    return *this;
  }
  ~Result() {
    if (has_value()) value_.~T();
  }

  bool has_value() const { return error_ == NtStatus::Success; }
  explicit operator bool() const { return has_value(); }
  NtStatus error() const { return error_; }

  T& value() & {
    ASSERT(has_value());
    return value_;
  }
  const T& value() const& {
    ASSERT(has_value());
    return value_;
  }
  T&& value() && {
    ASSERT(has_value());
    return std::move(value_);
  }
  T& operator*() { return value(); }
  const T& operator*() const { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  template <typename U>
  T value_or(U&& fallback) && {
    return has_value() ? std::move(value_) : static_cast<T>(std::forward<U>(fallback));
  }

 private:
  NtStatus error_;
  union {
    T value_;
  };
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;
  Result() = default;
  // NOLINTNEXTLINE(google-explicit-constructor)
  Result(NtStatus error) : error_(error) {}

  bool has_value() const { return error_ == NtStatus::Success; }
  explicit operator bool() const { return has_value(); }
  NtStatus error() const { return error_; }
  void value() const { ASSERT(has_value()); }

 private:
  NtStatus error_ = NtStatus::Success;
};

}  // namespace ntfs

/// The value of `expression` (a Result), or a return of its error from the enclosing function.
#define TRY(expression)                                       \
  __extension__({                                             \
    auto try_result_ = (expression);                          \
    if (!try_result_.has_value()) return try_result_.error(); \
    std::move(try_result_).value();                           \
  })
