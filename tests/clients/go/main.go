// Alice and bob talk: alice over REST with the client of openapi-generator, bob over a WebSocket.
//
// Needs ROOKERY_URL, TOKEN_ALICE and TOKEN_BOB. docs/api.md, under Clients, says how the package rookery is made.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"rookery"
)

const deadline = 20 * time.Second

var url = os.Getenv("ROOKERY_URL")

// openSession opens a WebSocket with the token in its subprotocols, as a browser has to, and waits until everything arrives.
func openSession(token string) (*websocket.Conn, error) {
	dialer := websocket.Dialer{Subprotocols: []string{"rookery.v1", "rookery.bearer." + token}, HandshakeTimeout: deadline}
	session, _, err := dialer.Dial(strings.Replace(url, "http", "ws", 1)+"/v1/ws", nil)
	if err != nil {
		return nil, err
	}
	if session.Subprotocol() != "rookery.v1" {
		return nil, fmt.Errorf("the server chose the subprotocol %q", session.Subprotocol())
	}
	_, err = next(session, func(frame rookery.ServerFrame) bool { return frame.ReadyFrame != nil })
	return session, err
}

// next returns the next frame that is wanted. Others are skipped, those of a newer server among them: they have no field set.
func next(session *websocket.Conn, wanted func(rookery.ServerFrame) bool) (rookery.ServerFrame, error) {
	for {
		var frame rookery.ServerFrame
		if err := session.SetReadDeadline(time.Now().Add(deadline)); err != nil {
			return frame, err
		}
		if err := session.ReadJSON(&frame); err != nil {
			return frame, err
		}
		if frame.ErrorFrame != nil {
			return frame, errors.New(frame.ErrorFrame.Problem.Detail)
		}
		if wanted(frame) {
			return frame, nil
		}
	}
}

func talk() error {
	configuration := rookery.NewConfiguration()
	configuration.Servers = rookery.ServerConfigurations{{URL: url}}
	alice := rookery.NewAPIClient(configuration).ConversationsAPI
	asAlice := context.WithValue(context.Background(), rookery.ContextAccessToken, os.Getenv("TOKEN_ALICE"))

	bob, err := openSession(os.Getenv("TOKEN_BOB"))
	if err != nil {
		return err
	}
	defer bob.Close()

	body := rookery.NewCreateBody([]string{"bob"})
	body.SetTitle("Go")
	conversation, _, err := alice.CreateConversation(asAlice).CreateBody(*body).Execute()
	if err != nil {
		return err
	}

	// Under a key of its own a send may be repeated after any error: there will be one message.
	send := alice.SendMessage(asAlice, conversation.Name).SendBody(*rookery.NewSendBody("noon?")).IdempotencyKey("go-" + conversation.Name)
	sent, first, err := send.Execute()
	if err != nil {
		return err
	}
	again, second, err := send.Execute()
	if err != nil {
		return err
	}
	if first.StatusCode != http.StatusCreated || second.StatusCode != http.StatusOK || sent.Id != again.Id {
		return fmt.Errorf("%s and %s, %s and %s", first.Status, second.Status, sent.Id, again.Id)
	}

	received, err := next(bob, func(frame rookery.ServerFrame) bool { return frame.MessageFrame != nil })
	if err != nil {
		return err
	}
	if message := received.MessageFrame; message.Id != sent.Id || message.Source != "alice" || message.Text != "noon?" {
		return fmt.Errorf("bob received %+v", message)
	}

	answer := rookery.NewSendFrame(conversation.Name, "send", "noon.")
	answer.SetReplyTo(sent.Id)
	answer.SetRef(1)
	if err := bob.WriteJSON(answer); err != nil {
		return err
	}
	if _, err := next(bob, func(frame rookery.ServerFrame) bool { return frame.OkFrame != nil }); err != nil {
		return err
	}

	history, _, err := alice.ShowHistory(asAlice, conversation.Name).Execute()
	if err != nil {
		return err
	}
	items := history.Items
	if len(items) != 2 || items[0].Text != "noon." || items[0].GetReplyTo() != sent.Id || items[1].Text != "noon?" {
		return fmt.Errorf("the history is %+v", items)
	}

	_, response, err := alice.ShowConversation(asAlice, "not-theirs").Execute()
	var refused *rookery.GenericOpenAPIError
	if response == nil || response.StatusCode != http.StatusForbidden || !errors.As(err, &refused) {
		return fmt.Errorf("a conversation of others: %v", err)
	}
	if problem, ok := refused.Model().(rookery.Problem); !ok || problem.Code != rookery.NOT_PARTICIPANT {
		return fmt.Errorf("a conversation of others: %s", refused.Body())
	}
	fmt.Printf("seq %d: %s\n", items[0].Seq, items[0].Text)
	return nil
}

func main() {
	if err := talk(); err != nil {
		log.Fatal(err)
	}
}
