// An intrusive doubly linked list: elements carry their links, so nothing is allocated and an element can be
// taken out in O(1) by whoever holds it. A type in several lists has one ListNode<Tag> base per list.
// The list does not own its elements.
#pragma once

#include <cstddef>

#include "base/ensure.hpp"

namespace duplex {

template <typename Tag>
class ListNode {
  public:
    ListNode() = default;
    ListNode(const ListNode&) = delete;
    ListNode& operator=(const ListNode&) = delete;
    ~ListNode() { ensure(!linked()); }

    bool linked() const { return next_ != nullptr; }

  private:
    template <typename T, typename U>
    friend class List;
    ListNode* previous_ = nullptr;
    ListNode* next_ = nullptr;
};

template <typename T, typename Tag>
class List {
    using Node = ListNode<Tag>;

  public:
    class iterator {
      public:
        explicit iterator(Node* node) : node_(node) {}
        T& operator*() const { return *static_cast<T*>(node_); }
        T* operator->() const { return static_cast<T*>(node_); }
        iterator& operator++() {
            node_ = node_->next_;
            return *this;
        }
        bool operator==(const iterator&) const = default;

      private:
        Node* node_;
    };

    List() { head_.previous_ = head_.next_ = &head_; }
    List(const List&) = delete;
    List& operator=(const List&) = delete;
    ~List() {
        clear();
        head_.previous_ = head_.next_ = nullptr;
    }

    bool empty() const { return head_.next_ == &head_; }
    size_t size() const { return size_; }
    iterator begin() { return iterator(head_.next_); }
    iterator end() { return iterator(&head_); }
    T& front() {
        ensure(!empty());
        return *static_cast<T*>(head_.next_);
    }
    T& back() {
        ensure(!empty());
        return *static_cast<T*>(head_.previous_);
    }

    void push_back(T& element) { link_before(head_, element); }
    void push_front(T& element) { link_before(*head_.next_, element); }
    void insert_before(T& position, T& element) { link_before(static_cast<Node&>(position), element); }

    void remove(T& element) {
        Node& node = element;
        ensure(node.linked());
        node.previous_->next_ = node.next_;
        node.next_->previous_ = node.previous_;
        node.previous_ = node.next_ = nullptr;
        --size_;
    }
    T& pop_front() {
        T& element = front();
        remove(element);
        return element;
    }
    // Takes every element out.
    void clear() {
        while (!empty()) pop_front();
    }
    // Appends everything in other, leaving it empty.
    void splice_back(List& other) {
        while (!other.empty()) push_back(other.pop_front());
    }

  private:
    void link_before(Node& position, T& element) {
        Node& node = element;
        ensure(!node.linked());
        node.next_ = &position;
        node.previous_ = position.previous_;
        position.previous_->next_ = &node;
        position.previous_ = &node;
        ++size_;
    }

    Node head_;
    size_t size_ = 0;
};

}  // namespace duplex
